#include "engine/rank_threads.h"

#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "base/log.h"
#include "kept/recovery.h"

namespace wan {

namespace {

/// The failure that is handled, of rank `rank` on `device`, as all are told.
Error failure_of(int rank, Device device) {
  Error error = current_failure();
  if (rank == 0 || error.code() == ErrorCode::kCancelled) return error;
  return {error.code(), fmt::format("rank {}, {}: {}", rank, to_string(device), error.what()), error.field()};
}

/// What became of the ranks' threads.
class Ends {
 public:
  explicit Ends(std::size_t ranks) : failures_(ranks), running_(ranks) {}

  void add(std::size_t rank, std::optional<Error> failure) {
    const std::lock_guard lock(mutex_);
    if (failure && !first_) first_ = failure;
    failures_[rank] = std::move(failure);
    --running_;
    changed_.notify_all();
  }

  /// Once all have ended: rank 0's failure, otherwise the first one, if any. Does not return where ranks go on for `patience` after a failure.
  std::optional<Error> wait(std::chrono::milliseconds patience, const std::function<bool()>& anyone_rests) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return running_ == 0 || first_; });
    // In slices, of which a process that was stopped meanwhile loses one and not all.
    const std::chrono::milliseconds slice = patience / 10;
    for (int slices = 0; !changed_.wait_for(lock, slice, [&] { return running_ == 0; });)
      if (!anyone_rests() && ++slices == 10) {
        log(LogLevel::kError, format_message("{} of the ranks do not end, so that the program does: {}",
                                             running_, MessagePart{failure()->what()}));
        std::_Exit(exit_status(failure()->code()));
      }
    return failure();
  }

 private:
  std::optional<Error> failure() const { return failures_.front() ? failures_.front() : first_; }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::optional<Error>> failures_;
  std::optional<Error> first_;
  std::size_t running_;
};

}  // namespace

void on_rank_threads(std::span<const Device> devices, const std::function<void(int rank)>& work,
                     const std::function<void(int rank, const Error& cause)>& abort,
                     const std::function<bool()>& anyone_rests, std::chrono::milliseconds patience) {
  if (devices.size() == 1) return work(0);
  Ends ends(devices.size());
  std::vector<std::thread> threads;
  for (int rank = 0; rank < static_cast<int>(devices.size()); ++rank)
    threads.emplace_back([&, rank] {
      std::optional<Error> failure;
      try {
        work(rank);
      } catch (...) {
        failure = failure_of(rank, devices[static_cast<std::size_t>(rank)]);
        // All ranks are cancelled at the same place, or rank 0 alone, while it does what is its own.
        if (rank == 0 || failure->code() != ErrorCode::kCancelled) abort(rank, *failure);
      }
      ends.add(static_cast<std::size_t>(rank), std::move(failure));
    });
  const std::optional<Error> failure = ends.wait(patience, anyone_rests);
  for (std::thread& thread : threads) thread.join();
  if (failure) throw Error(*failure);
}

}  // namespace wan
