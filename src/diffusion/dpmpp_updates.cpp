#include <cmath>

#include "base/error.h"
#include "diffusion/solver_updates.h"

namespace wan {

namespace {

// Data predictions of the last two steps.
int dpmpp_data_slot(int step) {
  return 2 + step % 2;
}

// h / h_0, the last two log-SNR distances: the weight of the slope D(step) - D(step - 1). A
// step away from sigma = 1 leaves log-SNR minus infinity, so that h_0 is infinite and the limit
// is 0: the step after it is of first order.
double slope_weight(std::span<const double> sigmas, int step) {
  if (sigmas[step - 1] >= 1.0) return 0.0;
  const double h = log_snr(sigmas[step + 1]) - log_snr(sigmas[step]);
  const double h_0 = log_snr(sigmas[step]) - log_snr(sigmas[step - 1]);
  return h / h_0;
}

}  // namespace

SolverUpdates dpmpp_updates(std::span<const double> sigmas) {
  WAN_ASSERT(sigmas.size() >= 2);
  const int steps = static_cast<int>(sigmas.size()) - 1;
  SolverUpdates result{4, {}};
  result.steps.reserve(steps);
  for (int step = 0; step < steps; ++step) {
    const auto [ratio, gain] = step_gain(sigmas[step], sigmas[step + 1]);
    const bool first_order = step == 0 || step == steps - 1;
    const double slope = first_order ? 0.0 : 0.5 * slope_weight(sigmas, step);
    SlotUpdate next{kSample, {}};
    if (ratio != 0.0) next.terms.push_back({kSample, ratio});
    next.terms.push_back({dpmpp_data_slot(step), gain * (1.0 + slope)});
    if (slope != 0.0) next.terms.push_back({dpmpp_data_slot(step - 1), -gain * slope});
    result.steps.push_back(
        {{dpmpp_data_slot(step), {{kSample, 1.0}, {kVelocity, -sigmas[step]}}}, std::move(next)});
  }
  return result;
}

SolverUpdates euler_updates(std::span<const double> sigmas) {
  WAN_ASSERT(sigmas.size() >= 2);
  SolverUpdates result{2, {}};
  for (std::size_t step = 0; step + 1 < sigmas.size(); ++step) {
    result.steps.push_back({{kSample, {{kSample, 1.0}, {kVelocity, sigmas[step + 1] - sigmas[step]}}}});
  }
  return result;
}

}  // namespace wan
