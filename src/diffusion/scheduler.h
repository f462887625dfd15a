#pragma once
// Sampling schedules for flow matching: timesteps, sigmas and each step's update as linear combinations of
// numbered state slots, so that any backend can run a solver and nothing is allocated in the denoising loop.
//
// The model's output is the velocity v = noise - data, and x(sigma) = (1 - sigma) * data + sigma * noise; the
// data prediction is x - sigma * v. Grids and solvers are those of Wan2.2's text2video.py:
//   unipc   UniPC (Zhao et al. 2023) of order 2 with B(h) = exp(h) - 1 ("bh2"), a corrector on every step
//           after the first, order 1 on the first and last step; sigma from 0.999 before the shift
//   dpm++   DPM-Solver++(2M) (Lu et al. 2022), midpoint, first order on the first and last step and, in the
//           limit, on the second; sigma from exactly 1
//   euler   first order on the grid of dpm++
// Sigmas are shifted by shift * s / (1 + (shift - 1) * s), rounded to float32 as the official tables are, and
// end with 0. Timesteps are 1000 * sigma before that rounding, truncated to integers.
//
// A deliberate difference: steps are taken by index. The official schedulers look their first step up by
// timestep and take the second match where truncation made two timesteps equal (UniPC with 92 or more steps
// at shift 12), so they start one sigma late and run past the end of their table.

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace wan {

enum class SolverKind { kUniPC, kDPMpp, kEuler };

/// "unipc", "dpm++" or "euler"; throws InvalidArgument for anything else.
SolverKind parse_solver(std::string_view name);
/// The name that parse_solver() takes.
const char* solver_name(SolverKind kind);

/// coefficient * state[slot]
struct SlotTerm {
  int slot;
  double coefficient;
};

/// state[target] = sum of the terms, elementwise. The target may be among the terms; it
/// then stands for its old value.
struct SlotUpdate {
  int target;
  std::vector<SlotTerm> terms;
};

/// What one solver does for one number of steps and one shift. Immutable.
class Scheduler {
 public:
  /// Slot of the latent x. The caller fills it with noise before step 0; after the last
  /// step it holds the result.
  static constexpr int kSample = 0;
  /// Slot of the guided velocity, which the caller fills before each step's updates. They never write to it.
  static constexpr int kVelocity = 1;
  /// No update has more terms than this.
  static constexpr int kMaxTerms = 5;
  /// Timesteps that the models were trained on: timestep = 1000 * sigma.
  static constexpr int kTrainTimesteps = 1000;

  SolverKind solver() const { return solver_; }
  double shift() const { return shift_; }
  int steps() const { return static_cast<int>(timesteps_.size()); }

  /// What the model is given in a step, in [0, 1000]: an integer, the official truncation, unless timesteps were given.
  double timestep(int step) const;
  std::span<const double> timesteps() const { return timesteps_; }

  /// sigma(step) is the noise level before a step, sigma(step + 1) the one after it; sigma(steps()) is 0.
  double sigma(int index) const;
  /// All steps() + 1 of them, strictly decreasing; float32 values held in double.
  std::span<const double> sigmas() const { return sigmas_; }

  /// Number of state slots, kSample and kVelocity included. Slots of history need no initial value.
  int slots() const { return slots_; }
  /// Run in this order after the model: they take kSample from sigma(step) to sigma(step + 1) and keep the
  /// history. Steps are run in turn from 0. Every coefficient is finite and not zero.
  const std::vector<SlotUpdate>& updates(int step) const;

 private:
  friend Scheduler make_scheduler(SolverKind solver, int steps, double shift);
  friend Scheduler make_scheduler(SolverKind solver, std::span<const double> timesteps, double shift);
  Scheduler() = default;
  void set_updates();

  SolverKind solver_ = SolverKind::kUniPC;
  double shift_ = 1.0;
  int slots_ = 2;
  std::vector<double> timesteps_;
  std::vector<double> sigmas_;
  std::vector<std::vector<SlotUpdate>> updates_;
};

/// Throws InvalidArgument unless 1 <= steps <= 1000, shift is finite and above 0, and the
/// shifted sigmas stay distinct as float32.
Scheduler make_scheduler(SolverKind solver, int steps, double shift);

/// At these timesteps, which are passed to the model as they are, with sigma = timestep / 1000; `shift` is what they were made with. For
/// models that were distilled to few steps, which know their own alone. Throws InvalidArgument unless there are 1 to 1000 that fall
/// strictly, from 1000 at most (of unipc, below) to above 0.
Scheduler make_scheduler(SolverKind solver, std::span<const double> timesteps, double shift);

/// The grid of such models: 1000 * shift * s / (1 + (shift - 1) * s) for s = 1, 1 - 1/steps, ..., 1/steps, not truncated.
std::vector<double> distilled_timesteps(int steps, double shift);

}  // namespace wan
