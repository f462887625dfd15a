#include "diffusion/scheduler.h"

#include <cmath>

#include "base/error.h"
#include "base/untrusted_text.h"
#include "diffusion/solver_updates.h"

namespace wan {

namespace {

// First sigma before the shift. UniPC's is the float32 nearest to 1 - 1/1000, the noise level of the last
// training timestep; the grid of DPM++ starts from pure noise.
double first_sigma(SolverKind solver) {
  return solver == SolverKind::kUniPC ? static_cast<double>(0.999F) : 1.0;
}

// In double, one rounded operation at a time and in the order of the official code: the truncation of 1000 *
// sigma to an integer timestep depends on the last bit.
std::vector<double> shifted_sigmas(SolverKind solver, int steps, double shift) {
  const double first = first_sigma(solver);
  const double increment = (0.0 - first) / steps;
  std::vector<double> sigmas(steps);
  for (int i = 0; i < steps; ++i) {
    const double sigma = i * increment + first;
    sigmas[i] = shift * sigma / (1.0 + (shift - 1.0) * sigma);
  }
  return sigmas;
}

SolverUpdates solver_updates(SolverKind solver, std::span<const double> sigmas) {
  switch (solver) {
    case SolverKind::kUniPC:
      return unipc_updates(sigmas);
    case SolverKind::kDPMpp:
      return dpmpp_updates(sigmas);
    case SolverKind::kEuler:
      return euler_updates(sigmas);
  }
  fail(ErrorCode::kInternal, "[scheduler] unknown solver {}", static_cast<int>(solver));
}

void check_sigmas(SolverKind solver, std::span<const double> sigmas, double shift) {
  bool distinct = solver != SolverKind::kUniPC || sigmas[0] < 1.0;
  for (std::size_t i = 0; i + 1 < sigmas.size(); ++i) distinct = distinct && sigmas[i] > sigmas[i + 1];
  WAN_CHECK(distinct, kInvalidArgument,
            "`sample_shift` {}: the noise levels of {} steps fall together; use a shift between 1 and 20, or "
            "fewer `sample_steps`",
            shift, sigmas.size() - 1);
}

}  // namespace

SolverKind parse_solver(std::string_view name) {
  for (const SolverKind kind : {SolverKind::kUniPC, SolverKind::kDPMpp, SolverKind::kEuler}) {
    if (name == solver_name(kind)) return kind;
  }
  fail(ErrorCode::kInvalidArgument, "`sample_solver` {}: expected unipc, dpm++ or euler", shortened(name));
}

const char* solver_name(SolverKind kind) {
  switch (kind) {
    case SolverKind::kUniPC:
      return "unipc";
    case SolverKind::kDPMpp:
      return "dpm++";
    case SolverKind::kEuler:
      return "euler";
  }
  fail(ErrorCode::kInternal, "[scheduler] unknown solver {}", static_cast<int>(kind));
}

double Scheduler::timestep(int step) const {
  WAN_ASSERT(step >= 0 && step < steps());
  return timesteps_[step];
}

double Scheduler::sigma(int index) const {
  WAN_ASSERT(index >= 0 && index <= steps());
  return sigmas_[index];
}

const std::vector<SlotUpdate>& Scheduler::updates(int step) const {
  WAN_ASSERT(step >= 0 && step < steps());
  return updates_[step];
}

Scheduler make_scheduler(SolverKind solver, int steps, double shift) {
  WAN_CHECK(steps >= 1 && steps <= Scheduler::kTrainTimesteps, kInvalidArgument,
            "`sample_steps`: expected 1 to {} sampling steps, got {}; 20 to 50 are usual",
            Scheduler::kTrainTimesteps, steps);
  WAN_CHECK(std::isfinite(shift) && shift > 0.0, kInvalidArgument,
            "`sample_shift` {}: expected a finite number above 0; 3 to 12 are usual", shift);
  Scheduler result;
  result.solver_ = solver;
  result.shift_ = shift;
  for (const double sigma : shifted_sigmas(solver, steps, shift)) {
    result.timesteps_.push_back(std::floor(sigma * Scheduler::kTrainTimesteps));
    result.sigmas_.push_back(static_cast<double>(static_cast<float>(sigma)));
  }
  result.sigmas_.push_back(0.0);
  check_sigmas(solver, result.sigmas_, shift);
  result.set_updates();
  return result;
}

Scheduler make_scheduler(SolverKind solver, std::span<const double> timesteps, double shift) {
  const double most = Scheduler::kTrainTimesteps;
  bool falls = !timesteps.empty() && timesteps.size() <= Scheduler::kTrainTimesteps &&
               timesteps.back() > 0.0 && timesteps.front() <= most;
  for (std::size_t i = 0; i + 1 < timesteps.size(); ++i) falls = falls && timesteps[i] > timesteps[i + 1];
  WAN_CHECK(falls, kInvalidArgument,
            "`sample_timesteps`: expected 1 to {} numbers that fall from {} at most to above 0, such as "
            "1000,937.5,833.3,625",
            Scheduler::kTrainTimesteps, Scheduler::kTrainTimesteps);
  WAN_CHECK(solver != SolverKind::kUniPC || timesteps.front() < most, kInvalidArgument,
            "`sample_timesteps`: unipc begins below {}; use `sample_solver` euler or dpm++", most);
  Scheduler result;
  result.solver_ = solver;
  result.shift_ = shift;
  result.timesteps_.assign(timesteps.begin(), timesteps.end());
  for (const double timestep : timesteps)
    result.sigmas_.push_back(static_cast<double>(static_cast<float>(timestep / most)));
  result.sigmas_.push_back(0.0);
  check_sigmas(solver, result.sigmas_, shift);
  result.set_updates();
  return result;
}

void Scheduler::set_updates() {
  SolverUpdates updates = solver_updates(solver_, sigmas_);
  slots_ = updates.slots;
  updates_ = std::move(updates.steps);
}

std::vector<double> distilled_timesteps(int steps, double shift) {
  std::vector<double> timesteps;
  for (int i = 0; i < steps; ++i) {
    const double sigma = static_cast<double>(steps - i) / steps;
    timesteps.push_back(Scheduler::kTrainTimesteps * shift * sigma / (1.0 + (shift - 1.0) * sigma));
  }
  return timesteps;
}

}  // namespace wan
