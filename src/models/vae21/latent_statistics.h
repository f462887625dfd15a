#pragma once
// Mean and deviation of each latent channel: published constants, which stand in no checkpoint.

#include <cstdint>
#include <span>

namespace wan {

struct LatentStatistics {
  std::span<const double> mean;
  std::span<const double> deviation;
};

/// Of Wan2.1_VAE.pth. Throws Unsupported for any number of channels but 16: none are published.
LatentStatistics vae21_latent_statistics(std::int64_t z_dim);

}  // namespace wan
