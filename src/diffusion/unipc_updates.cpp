#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "diffusion/solver_updates.h"

namespace wan {

namespace {

// The corrected sample that the last predictor started from.
constexpr int kAnchor = 2;
constexpr int kSlots = 5;

// Data predictions of the last two steps; step i's replaces that of step i - 2.
int unipc_data_slot(int step) {
  return 3 + step % 2;
}

// Weights of the differences D(i - 2) - D(i - 1), which is also divided by the log-SNR ratio, and
// D(i) - D(i - 1).
struct CorrectorWeights {
  double history;
  double current;
};

// Solves UniC's conditions of order 2 with B(h) = exp(-h) - 1:
//   rho_1 + rho_2 = b_1,  r * rho_1 + rho_2 = b_2,  b_k = k! * phi_(k+1)(-h) * (-h) / B(h)
// where r is the earlier log-SNR distance over h, a negative number.
CorrectorWeights corrector_weights(double h, double r) {
  const double x = -h;
  const double b_h = std::expm1(x);
  const double first = b_h / x - 1.0;
  const double second = first / x - 0.5;
  const double b_1 = first / b_h;
  const double b_2 = 2.0 * second / b_h;
  const double history = (b_1 - b_2) / (1.0 - r);
  return {history, b_1 - history};
}

// The sample at sigma[step] again, now that the model was evaluated there: from the anchor one step before.
SlotUpdate corrector(std::span<const double> sigmas, int step, int order) {
  const double from = sigmas[step - 1];
  const double to = sigmas[step];
  const auto [ratio, gain] = step_gain(from, to);
  double history = 0.0;
  double current = 0.5;
  if (order == 2) {
    const double h = log_snr(to) - log_snr(from);
    const double r = (log_snr(sigmas[step - 2]) - log_snr(from)) / h;
    const CorrectorWeights weights = corrector_weights(h, r);
    history = weights.history / r;
    current = weights.current;
  }
  SlotUpdate update{kAnchor,
                    {{kAnchor, ratio}, {unipc_data_slot(step - 1), gain * (1.0 - history - current)}}};
  if (order == 2) update.terms.push_back({unipc_data_slot(step - 2), gain * history});
  update.terms.push_back({kSample, gain * current});
  update.terms.push_back({kVelocity, -gain * current * to});
  return update;
}

SlotUpdate predictor(std::span<const double> sigmas, int step, int order) {
  const double from = sigmas[step];
  const double to = sigmas[step + 1];
  const auto [ratio, gain] = step_gain(from, to);
  SlotUpdate update{kSample, {}};
  if (ratio != 0.0) update.terms.push_back({kAnchor, ratio});
  if (order == 1) {
    update.terms.push_back({unipc_data_slot(step), gain});
    return update;
  }
  const double h = log_snr(to) - log_snr(from);
  const double r = (log_snr(sigmas[step - 1]) - log_snr(from)) / h;
  update.terms.push_back({unipc_data_slot(step), gain * (1.0 - 0.5 / r)});
  update.terms.push_back({unipc_data_slot(step - 1), gain * 0.5 / r});
  return update;
}

}  // namespace

SolverUpdates unipc_updates(std::span<const double> sigmas) {
  WAN_ASSERT(sigmas.size() >= 2 && sigmas[0] < 1.0);
  const int steps = static_cast<int>(sigmas.size()) - 1;
  SolverUpdates result{kSlots, {}};
  result.steps.reserve(steps);
  int previous_order = 0;
  for (int step = 0; step < steps; ++step) {
    const int order = std::min({2, step + 1, steps - step});
    std::vector<SlotUpdate> updates;
    if (step == 0) {
      updates.push_back({kAnchor, {{kSample, 1.0}}});
    } else {
      updates.push_back(corrector(sigmas, step, previous_order));
    }
    // From the sample as the model saw it, not the corrected one.
    updates.push_back({unipc_data_slot(step), {{kSample, 1.0}, {kVelocity, -sigmas[step]}}});
    updates.push_back(predictor(sigmas, step, order));
    result.steps.push_back(std::move(updates));
    previous_order = order;
  }
  return result;
}

}  // namespace wan
