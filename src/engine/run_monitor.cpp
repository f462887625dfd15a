#include "engine/run_monitor.h"

namespace wan {

void RunMonitor::operator()(const Event& event) {
  Event told = event;
  std::visit([this](auto& e) { note(e); }, told);
  next_(told);
}

void RunMonitor::note(const PhaseStarted&) {
  counted_ = flops_;
  step_began_ = 0;
}

void RunMonitor::note(PhaseProgress& event) {
  if (event.phase == Phase::kLoad) return;
  if (read_device_) event.device = read_device_();
  if (event.step == 0) return;
  const double seconds = event.seconds - step_began_;
  const std::int64_t flops = flops_ - counted_;
  if (seconds > 0) event.flops_per_second = static_cast<double>(flops) / seconds;
  denoise_seconds_ += seconds;
  denoise_flops_ += flops;
  step_began_ = event.seconds;
  counted_ = flops_;
}

void RunMonitor::note(const PhaseFinished& event) {
  phases_.push_back({event.phase, event.seconds});
}

void RunMonitor::note(Finished& event) const {
  event.phases = phases_;
  if (denoise_seconds_ > 0) event.flops_per_second = static_cast<double>(denoise_flops_) / denoise_seconds_;
}

}  // namespace wan
