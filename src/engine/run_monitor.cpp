#include "engine/run_monitor.h"

#include <algorithm>

namespace wan {

void RunMonitor::operator()(const Event& event) {
  Event told = event;
  std::visit([this](auto& e) { note(e); }, told);
  next_(told);
}

void RunMonitor::note(const PhaseStarted&) {
  counted_ = flops_;
  step_began_ = 0;
  if (read_.waited) waited_ = read_.waited();
}

void RunMonitor::note(PhaseProgress& event) {
  if (event.phase == Phase::kLoad) return;
  if (read_.devices) event.devices = read_.devices();
  if (event.step == 0) return;
  const double seconds = event.seconds - step_began_;
  const std::int64_t flops = flops_ - counted_;
  if (seconds > 0) event.flops_per_second = static_cast<double>(flops) / seconds;
  if (read_.waited) event.waited = waits_since_last_step();
  denoise_seconds_ += seconds;
  denoise_flops_ += flops;
  step_began_ = event.seconds;
  counted_ = flops_;
}

StepWaits RunMonitor::waits_since_last_step() {
  const std::vector<double> now = read_.waited();
  StepWaits waits{.first = now.front() - waited_.front()};
  for (std::size_t rank = 0; rank < now.size(); ++rank)
    waits.longest = std::max(waits.longest, now[rank] - waited_[rank]);
  waited_ = now;
  return waits;
}

void RunMonitor::note(const PhaseFinished& event) {
  phases_.push_back({event.phase, event.seconds});
}

void RunMonitor::note(Finished& event) const {
  event.phases = phases_;
  if (read_.devices) event.devices = read_.devices();
  if (denoise_seconds_ > 0) event.flops_per_second = static_cast<double>(denoise_flops_) / denoise_seconds_;
}

}  // namespace wan
