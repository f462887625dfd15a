#pragma once
// Classifier-free guidance, and which of the two experts runs at a timestep.

#include <cstdint>
#include <optional>

#include "wan/request.h"

namespace wan {

/// The transformers of an A14B checkpoint. A checkpoint with one transformer has it as kLowNoise.
enum class Expert { kLowNoise, kHighNoise };

/// "low_noise" or "high_noise".
const char* expert_name(Expert expert);

/// guided = conditional * v(prompt) + unconditional * v(negative prompt), the velocities of the two
/// passes: v_neg + scale * (v_prompt - v_neg).
struct GuidanceCoefficients {
  double conditional;
  double unconditional;
};

/// Expert and guidance of each timestep of a run.
class Guidance {
 public:
  /// `boundary`: share of the 1000 training timesteps from which the high-noise expert runs, in
  /// (0, 1]: 0.875 for T2V-A14B. Without it there is one expert. Throws InvalidArgument for
  /// values outside, or scales not finite.
  Guidance(const GuidanceScale& scale, std::optional<double> boundary);

  /// kHighNoise where timestep >= boundary * 1000.
  Expert expert(double timestep) const;
  double scale(double timestep) const;
  /// False at scale 1, where the guided velocity is the conditional one: the second pass may be skipped.
  bool needs_unconditional(double timestep) const;
  GuidanceCoefficients coefficients(double timestep) const;

 private:
  GuidanceScale scale_;
  std::optional<double> boundary_;
};

}  // namespace wan
