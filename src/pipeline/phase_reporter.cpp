#include "pipeline/phase_reporter.h"

namespace wan {

PhaseReporter::PhaseReporter(const EventHandler& on_event, Phase phase, std::int64_t total)
    : on_event_(on_event), phase_(phase), total_(total), start_(std::chrono::steady_clock::now()) {
  tell(PhaseStarted{phase, total});
}

void PhaseReporter::progress(std::int64_t done) {
  tell(PhaseProgress{.phase = phase_, .done = done, .total = total_, .seconds = seconds()});
}

void PhaseReporter::step(std::int64_t done, int step, int steps, double timestep) {
  tell(PhaseProgress{.phase = phase_,
                     .done = done,
                     .total = total_,
                     .seconds = seconds(),
                     .step = step,
                     .steps = steps,
                     .timestep = timestep});
}

void PhaseReporter::finish() {
  tell(PhaseFinished{phase_, seconds()});
}

double PhaseReporter::seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

void PhaseReporter::tell(const Event& event) const {
  if (on_event_) on_event_(event);
}

}  // namespace wan
