#include "backends/cuda/wait_times.h"

namespace wan::cuda {

void WaitTimes::wait(cudaStream_t stream, cudaEvent_t event) {
  const std::lock_guard lock(mutex_);
  count();
  if (spare_.empty()) spare_.emplace_back();
  Wait& wait = waits_.emplace_back(std::move(spare_.back()));
  spare_.pop_back();
  wait.before.record(stream);
  WAN_CUDA(cudaStreamWaitEvent(stream, event));
  wait.after.record(stream);
}

double WaitTimes::seconds() {
  const std::lock_guard lock(mutex_);
  count();
  return seconds_;
}

void WaitTimes::count() {
  for (; !waits_.empty() && waits_.front().after.is_over(); waits_.pop_front()) {
    Wait& wait = waits_.front();
    seconds_ += 1e-3 * wait.after.milliseconds_since(wait.before);
    spare_.push_back(std::move(wait));
  }
}

}  // namespace wan::cuda
