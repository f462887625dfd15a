#pragma once
// Mean and deviation of each latent channel: published constants, which stand in no checkpoint; and the convolutions
// next to the latents with these folded into their weights.

#include <span>

#include "nn/causal_conv3d.h"

namespace wan {

/// One value a latent channel.
struct LatentStatistics {
  std::span<const double> mean;
  std::span<const double> deviation;

  std::int64_t channels() const { return static_cast<std::int64_t>(mean.size()); }
};

/// A file's conv2 [z, z, 1, 1, 1], which takes latents as they are, as a convolution of normalised ones:
/// w (d x + m) + b.
CausalConv3d load_denormalizing(const WeightScope& scope, const LatentStatistics& statistics);

/// The first z outputs (the mean; the others are the log-variance) of a file's conv1 [2z, 2z, 1, 1, 1], normalised:
/// (w x + b - m) / d.
CausalConv3d load_normalizing(const WeightScope& scope, const LatentStatistics& statistics);

}  // namespace wan
