#pragma once
// Vae21Config: the dimensions of a VAE 2.1, which the official layout keeps in code and not in its files.

#include <vector>

#include "models/video_vae.h"
#include "weights/weight_scope.h"

namespace wan {

struct Vae21Config {
  std::int64_t dim = 0;                   // channels at full resolution
  std::vector<std::int64_t> multipliers;  // channels of each level in units of dim, full resolution first
  int res_blocks = 0;                     // of each level of the encoder; the decoder has one more
  std::int64_t z_dim = 0;
  std::vector<bool> halves_time;  // between levels i and i + 1, going down

  int levels() const { return static_cast<int>(multipliers.size()); }
  std::int64_t channels(int level) const { return dim * multipliers[static_cast<std::size_t>(level)]; }
  VaeGeometry geometry() const;
};

/// From the tensors' shapes and from which tensors exist. Throws BadFile where they fit no VAE 2.1. Tensors that
/// contradict one another are left to the report of the weights that the model then asks for.
Vae21Config vae21_config(const WeightScope& scope);

}  // namespace wan
