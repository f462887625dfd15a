#pragma once
// StreamedBlocks: a few places in device memory, filled by a thread that follows the schedule one block
// ahead.

#include <condition_variable>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>

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
    std::vector<std::vector<TensorView>> views;  // by group
    BlockId id;
    State state = State::kEmpty;
    int leases = 0;
    std::exception_ptr error;                 // when kFailed
    std::vector<std::function<void()>> uses;  // to wait for before the memory is overwritten
  };
  struct Work {
    Place* place;
    BlockId id;
  };

  void release(std::size_t place) noexcept override;
  void allocate_places();
  void check_loads() const;
  // The following are called with mutex_ held.
  Place* find(BlockId id);
  Place& wait_for(BlockId id, std::unique_lock<std::mutex>& lock);
  void advance_schedule(BlockId id);
  std::vector<BlockId> wanted() const;
  Place* free_place(std::span<const BlockId> keep);
  std::optional<Work> next_work();
  void check_free_place(BlockId id) const;

  void run();
  void load(const Work& work, std::unique_lock<std::mutex>& lock);

  BlockLoader loader_;  // used by the thread alone once it runs
  ResidencyOptions options_;
  std::size_t bytes_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Place> places_;
  std::vector<BlockId> schedule_;
  std::size_t next_ = 0;           // in schedule_: the next block to be acquired
  std::optional<BlockId> urgent_;  // acquire() waits for it
  ResidencyStats stats_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace wan
