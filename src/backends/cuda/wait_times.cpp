#include "backends/cuda/wait_times.h"

namespace wan::cuda {

void WaitTimes::wait(cudaStream_t stream, cudaEvent_t event) {
  during(stream, [&] { WAN_CUDA(cudaStreamWaitEvent(stream, event)); });
}

void WaitTimes::during(cudaStream_t stream, const std::function<void()>& enqueue) {
  Wait wait = take_spare();
  wait.before.record(stream);
  enqueue();
  wait.after.record(stream);
  const std::lock_guard lock(mutex_);
  waits_.push_back(std::move(wait));
}

WaitTimes::Wait WaitTimes::take_spare() {
  const std::lock_guard lock(mutex_);
  count();
  if (spare_.empty()) return {};
  Wait wait = std::move(spare_.back());
  spare_.pop_back();
  return wait;
}

double WaitTimes::seconds() {
  const std::lock_guard lock(mutex_);
  count();
  return seconds_;
}

std::optional<std::uint64_t> WaitTimes::under_way() {
  const std::lock_guard lock(mutex_);
  count();
  if (waits_.empty() || !waits_.front().before.is_over()) return std::nullopt;
  return counted_;
}

void WaitTimes::count() {
  for (; !waits_.empty() && waits_.front().after.is_over(); waits_.pop_front()) {
    Wait& wait = waits_.front();
    seconds_ += 1e-3 * wait.after.milliseconds_since(wait.before);
    ++counted_;
    spare_.push_back(std::move(wait));
  }
}

}  // namespace wan::cuda
