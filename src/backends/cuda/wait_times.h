#pragma once
// WaitTimes: how long a stream has stood still for the work of other devices.

#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <vector>

#include "backends/cuda/handles.h"

namespace wan::cuda {

class WaitTimes {
 public:
  /// What is enqueued on `stream` from now on comes after `event`, of any device. The stream's device must be current.
  void wait(cudaStream_t stream, cudaEvent_t event);
  /// What enqueue() puts on `stream` counts as waiting. One thread at a time.
  void during(cudaStream_t stream, const std::function<void()>& enqueue);
  /// Of all waits that are over. From any thread, with that device current.
  double seconds();
  /// How many waits came before the one that the stream stands in; nothing where it stands in none. Likewise.
  std::optional<std::uint64_t> under_way();

 private:
  /// Marks of the stream on both sides of a wait.
  struct Wait {
    Event before{Event::Kind::kTimed};
    Event after{Event::Kind::kTimed};
  };
  Wait take_spare();
  /// Counts those that are over, whose marks serve again.
  void count();

  std::mutex mutex_;
  std::deque<Wait> waits_;  // in the order of the stream
  std::vector<Wait> spare_;
  double seconds_ = 0;
  std::uint64_t counted_ = 0;
};

}  // namespace wan::cuda
