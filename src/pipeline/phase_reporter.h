#pragma once
// PhaseReporter: the events of one phase, from its start to its end.

#include <chrono>

#include "wan/events.h"

namespace wan {

class PhaseReporter {
 public:
  PhaseReporter(const EventHandler& on_event, Phase phase, std::int64_t total);

  /// `done` of the total are finished.
  void progress(std::int64_t done);
  /// A finished denoising step: number `step` of `steps`, both of the whole run.
  void step(std::int64_t done, int step, int steps, double timestep);
  /// Once; a phase that fails has no end.
  void finish();
  double seconds() const;

 private:
  void tell(const Event& event) const;

  const EventHandler& on_event_;
  Phase phase_;
  std::int64_t total_;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace wan
