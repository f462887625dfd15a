#pragma once
// Coefficients of the multistep solvers, from a table of sigmas. Internal to scheduler.cpp.

#include <cmath>
#include <span>
#include <vector>

#include "diffusion/scheduler.h"

namespace wan {

inline constexpr int kSample = Scheduler::kSample;
inline constexpr int kVelocity = Scheduler::kVelocity;

/// A solver's slots and, for each step, its updates. A coefficient of zero has no term.
struct SolverUpdates {
  int slots;
  std::vector<std::vector<SlotUpdate>> steps;
};

/// `sigmas`: steps + 1 values, strictly decreasing from below 1 to 0.
SolverUpdates unipc_updates(std::span<const double> sigmas);
/// `sigmas`: steps + 1 values, strictly decreasing from 1 or below to 0.
SolverUpdates dpmpp_updates(std::span<const double> sigmas);
SolverUpdates euler_updates(std::span<const double> sigmas);

/// Half the log of the signal-to-noise ratio, lambda = log(1 - sigma) - log(sigma);
/// minus infinity at sigma = 1.
inline double log_snr(double sigma) {
  return std::log1p(-sigma) - std::log(sigma);
}

/// The exact solution over one step for a constant data prediction D is ratio * x + gain *
/// D. In terms of h = lambda(to) - lambda(from): gain = (1 - to) * (1 - exp(-h)), which is
/// 1 - to / from, and finite where h is not.
struct StepGain {
  double ratio;
  double gain;
};

inline StepGain step_gain(double from, double to) {
  return {to / from, (from - to) / from};
}

}  // namespace wan
