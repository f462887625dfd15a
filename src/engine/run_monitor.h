#pragma once
// RunMonitor: adds to a run's events what the device does: memory, utilization, achieved rate; and the sums at the end.

#include <cstdint>
#include <functional>

#include "wan/events.h"

namespace wan {

class RunMonitor {
 public:
  /// `flops` grows while the run computes (ExecContext::flops); `read_device` is empty on the CPU. All three outlive this.
  RunMonitor(const EventHandler& next, const std::int64_t& flops,
             const std::function<DeviceUse()>& read_device)
      : next_(next), flops_(flops), read_device_(read_device) {}

  /// Passes the event on, with what this knows.
  void operator()(const Event& event);

 private:
  void note(PhaseProgress& event);
  void note(const PhaseStarted& event);
  void note(const PhaseFinished& event);
  void note(Finished& event) const;
  void note(const Notice&) const {}
  void note(const RunSettings&) const {}

  const EventHandler& next_;
  const std::int64_t& flops_;
  const std::function<DeviceUse()>& read_device_;
  std::int64_t counted_ = 0;    // flops_ when the last step ended, or its phase began
  double step_began_ = 0;       // in seconds of the phase
  double denoise_seconds_ = 0;  // of all steps
  std::int64_t denoise_flops_ = 0;
  std::vector<PhaseTime> phases_;
};

}  // namespace wan
