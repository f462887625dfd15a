#include "diffusion/guidance.h"

#include <cmath>

#include "base/error.h"
#include "diffusion/scheduler.h"

namespace wan {

const char* expert_name(Expert expert) {
  return expert == Expert::kHighNoise ? "high_noise" : "low_noise";
}

Guidance::Guidance(const GuidanceScale& scale, std::optional<double> boundary)
    : scale_(scale), boundary_(boundary) {
  WAN_CHECK(std::isfinite(scale.low_noise) && std::isfinite(scale.high_noise), kInvalidArgument,
            "`sample_guide_scale` {},{}: expected finite numbers; 3 to 5 are usual", scale.low_noise,
            scale.high_noise);
  WAN_CHECK(
      !boundary || (*boundary > 0.0 && *boundary <= 1.0), kInvalidArgument,
      "[guidance] expected a boundary above 0 and up to 1, got {}; T2V-A14B uses 0.875 and I2V-A14B 0.9",
      *boundary);
}

Expert Guidance::expert(double timestep) const {
  const bool high = boundary_ && timestep >= *boundary_ * Scheduler::kTrainTimesteps;
  return high ? Expert::kHighNoise : Expert::kLowNoise;
}

double Guidance::scale(double timestep) const {
  return expert(timestep) == Expert::kHighNoise ? scale_.high_noise : scale_.low_noise;
}

bool Guidance::needs_unconditional(double timestep) const {
  return scale(timestep) != 1.0;
}

GuidanceCoefficients Guidance::coefficients(double timestep) const {
  const double conditional = scale(timestep);
  return {conditional, 1.0 - conditional};
}

}  // namespace wan
