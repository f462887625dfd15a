#pragma once
// ResidentBlocks: every block in device memory, loaded by preload() or when first acquired.

#include "weights/block_loader.h"
#include "weights/block_residency.h"

namespace wan {

class ResidentBlocks final : public BlockResidency {
 public:
  ResidentBlocks(std::vector<BlockGroup> groups, const WeightUpload& upload);

  void preload(const LoadProgress& progress) override;
  /// Every block stays in place, so the schedule serves only the statistics.
  void set_schedule(std::span<const BlockId> schedule) override;
  BlockLease acquire(BlockId id) override;
  std::size_t bytes() const override { return bytes_; }
  ResidencyStats stats() const override { return stats_; }

 private:
  struct Place {
    Buffer memory;
    std::vector<TensorView> views;
    bool loaded = false;
  };

  void release(std::size_t) noexcept override {}
  void load(BlockId id);
  Place& place(BlockId id);

  BlockLoader loader_;
  std::vector<std::vector<Place>> places_;  // by group, block
  std::vector<BlockId> schedule_;
  std::size_t next_ = 0;
  std::size_t bytes_ = 0;
  ResidencyStats stats_;
};

}  // namespace wan
