#pragma once
// ResidentBlocks: every block in device memory, loaded by preload() or when first acquired, for good or until its last use.

#include <mutex>

#include "weights/block_loader.h"
#include "weights/block_residency.h"

namespace wan {

class ResidentBlocks final : public BlockResidency {
 public:
  ResidentBlocks(std::vector<BlockGroup> groups, const ResidencyOptions& options);

  void preload(const LoadProgress& progress) override;
  /// Where blocks are kept, it serves only the statistics.
  void set_schedule(std::span<const BlockId> schedule) override;
  BlockLease acquire(BlockId id) override;
  std::size_t bytes() const override { return bytes_; }
  ResidencyStats stats() const override;

 private:
  struct Place {
    Buffer memory;
    std::vector<TensorView> views;
    std::vector<LowRankViews> additions;
    bool loaded = false;
    int leases = 0;
    std::int64_t to_come = 0;  // in the rest of the schedule
  };

  void release(std::size_t place) noexcept override;
  /// Under the mutex.
  void load(BlockId id);
  Place& place(BlockId id) { return places_[loader_.number(id)]; }
  /// Gives the memory back where nobody has the block and the schedule does not name it. Under the mutex.
  void drop_if_done(Place& place) noexcept;

  BlockLoader loader_;
  std::function<std::function<void()>()> mark_use_;
  bool keep_;
  std::vector<BlockId> schedule_;
  std::size_t next_ = 0;
  bool scheduled_ = false;
  std::size_t bytes_;
  std::vector<Place> places_;  // by block's number
  ResidencyStats stats_;
  mutable std::mutex mutex_;  // leases may end on any thread
};

}  // namespace wan
