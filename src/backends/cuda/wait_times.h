#pragma once
// WaitTimes: how long a stream has stood still for the work of other devices.

#include <deque>
#include <mutex>
#include <vector>

#include "backends/cuda/handles.h"

namespace wan::cuda {

class WaitTimes {
 public:
  /// What is enqueued on `stream` from now on comes after `event`, of any device. The stream's device must be current.
  void wait(cudaStream_t stream, cudaEvent_t event);
  /// Of all waits that are over. From any thread, with that device current.
  double seconds();

 private:
  /// Marks of the stream on both sides of a wait.
  struct Wait {
    Event before{Event::Kind::kTimed};
    Event after{Event::Kind::kTimed};
  };
  /// Counts those that are over, whose marks serve again.
  void count();

  std::mutex mutex_;
  std::deque<Wait> waits_;  // in the order of the stream
  std::vector<Wait> spare_;
  double seconds_ = 0;
};

}  // namespace wan::cuda
