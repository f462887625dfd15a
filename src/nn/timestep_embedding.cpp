#include "nn/timestep_embedding.h"

#include <cmath>

namespace wan {

void fill_timestep_embedding(std::span<const double> timesteps, const TensorView& out) {
  WAN_CHECK(out.rank() == 2 && out.dim(0) == static_cast<std::int64_t>(timesteps.size()) &&
                out.dim(1) % 2 == 0 && out.is_contiguous(),
            kInternal, "[fill_timestep_embedding] {} timesteps into {}", timesteps.size(),
            out.shape().to_string());
  const std::int64_t half = out.dim(1) / 2;
  for (std::int64_t row = 0; row < out.dim(0); ++row) {
    float* values = out.as<float>() + row * out.dim(1);
    for (std::int64_t i = 0; i < half; ++i) {
      const double frequency = std::pow(10000.0, -static_cast<double>(i) / static_cast<double>(half));
      const double angle = timesteps[static_cast<std::size_t>(row)] * frequency;
      values[i] = static_cast<float>(std::cos(angle));
      values[half + i] = static_cast<float>(std::sin(angle));
    }
  }
}

}  // namespace wan
