#pragma once
// Vae21Config: the dimensions of a VAE 2.1, which the official layout keeps in code and not in its files.

#include "models/video_vae/levels.h"

namespace wan {

struct Vae21Config {
  std::int64_t dim = 0;  // channels at full resolution
  std::int64_t z_dim = 0;
  VaeLevels levels;

  std::int64_t channels(int level) const { return dim * levels.multipliers[static_cast<std::size_t>(level)]; }
  VaeGeometry geometry() const {
    return {.z_dim = z_dim,
            .temporal_stride = levels.temporal_stride(),
            .spatial_stride = levels.spatial_stride()};
  }
};

/// From the tensors' shapes and from which tensors exist. Throws BadFile where they fit no VAE 2.1. Tensors that
/// contradict one another are left to the report of the weights that the model then asks for.
Vae21Config vae21_config(const WeightScope& scope);

}  // namespace wan
