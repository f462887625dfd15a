#pragma once
// RunMonitor: adds to a run's events what the devices do: memory, utilization, achieved rate, how long ranks wait; and the sums at the end.

#include <cstdint>
#include <functional>
#include <vector>

#include "wan/events.h"

namespace wan {

/// What a process's ranks tell of themselves, the first one first.
struct RankReaders {
  std::function<std::vector<DeviceUse>()> devices = {};  // empty on the CPU
  std::function<std::vector<double>()> waited = {};  // seconds of all time, which grow; empty for one rank
};

class RunMonitor {
 public:
  /// `flops` grows while the run computes (ExecContext::flops). All three outlive this.
  RunMonitor(const EventHandler& next, const std::int64_t& flops, const RankReaders& read)
      : next_(next), flops_(flops), read_(read) {}

  /// Passes the event on, with what this knows.
  void operator()(const Event& event);

 private:
  void note(PhaseProgress& event);
  void note(const PhaseStarted& event);
  void note(const PhaseFinished& event);
  void note(Finished& event) const;
  void note(const Notice&) const {}
  void note(const PromptExtended&) const {}
  void note(const RunSettings&) const {}
  StepWaits waits_since_last_step();

  const EventHandler& next_;
  const std::int64_t& flops_;
  const RankReaders& read_;
  std::int64_t counted_ = 0;    // flops_ when the last step ended, or its phase began
  std::vector<double> waited_;  // likewise
  double step_began_ = 0;       // in seconds of the phase
  double denoise_seconds_ = 0;  // of all steps
  std::int64_t denoise_flops_ = 0;
  std::vector<PhaseTime> phases_;
};

}  // namespace wan
