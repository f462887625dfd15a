#pragma once
// StreamedBlocks: fewer places in device memory than there are blocks, filled by a thread that follows the schedule: from the
// checkpoint, or from the shares of the ranks that divide the blocks.
//
// A block that the schedule names no more gives its place to the next one that is missing, however far ahead: so the
// second expert comes in block by block during the first one's last pass. Where a pass has more blocks than there are
// places, those needed last give way, and only for what is needed next: the others stay, and each pass loads the rest.

#include <condition_variable>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>

#include "weights/block_gathering.h"
#include "weights/block_loader.h"
#include "weights/block_residency.h"

namespace wan {

class StreamedBlocks final : public BlockResidency {
 public:
  StreamedBlocks(std::vector<BlockGroup> groups, ResidencyOptions options);
  ~StreamedBlocks() override;

  void preload(const LoadProgress& progress) override;
  void set_schedule(std::span<const BlockId> schedule) override;
  BlockLease acquire(BlockId id) override;
  std::size_t bytes() const override { return bytes_; }
  ResidencyStats stats() const override;

 private:
  enum class State { kEmpty, kLoading, kReady, kFailed };
  struct Place {
    Buffer memory;
    std::vector<TensorView> views;  // the block's
    std::vector<LowRankViews> additions;
    BlockId id;
    State state = State::kEmpty;  // with memory; without, a place is out of use
    int leases = 0;
    std::exception_ptr error;                 // when kFailed
    std::vector<std::function<void()>> uses;  // to wait for before the memory is overwritten
  };
  struct Work {
    Place* place;
    BlockId id;
  };

  void release(std::size_t place) noexcept override;
  void check_loads() const;
  // The following are called with mutex_ held; those that take or give back memory on the caller's threads alone.
  void take_memory(Place& place);
  void take_places(std::size_t count);
  void give_back_surplus() noexcept;
  void give_up_shares() noexcept;
  Place* find(BlockId id);
  Place& wait_for(BlockId id, std::unique_lock<std::mutex>& lock);
  void advance_schedule(BlockId id);
  void count_uses();
  std::size_t next_use(const Place& place) const;
  Place* needed_last();
  std::optional<Work> next_work();
  void ensure_free_place(BlockId id);

  void run();
  void load(const Work& work, std::unique_lock<std::mutex>& lock);

  BlockLoader loader_;  // load() is for the thread alone
  ResidencyOptions options_;
  BlockGathering gathering_;
  std::size_t bytes_;
  std::size_t place_bytes_ = 0;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Place> places_;
  std::vector<BlockId> schedule_;
  std::size_t next_ = 0;  // in schedule_: the next block to be acquired
  // By block's number: where schedule_ names it first from next_ on, or kNever.
  std::vector<std::size_t> next_uses_;
  std::size_t scheduled_blocks_ = 0;  // that the rest of schedule_ names
  bool scheduled_ = false;
  std::optional<BlockId> urgent_;  // acquire() waits for it
  ResidencyStats stats_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace wan
