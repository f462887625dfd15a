#pragma once
// Mean and deviation of each latent channel of VAE 2.1.

#include "models/video_vae/latent_statistics.h"

namespace wan {

/// Those of Wan2.1_VAE.pth. Throws Unsupported for any number of channels but 16: none are published.
LatentStatistics vae21_latent_statistics(std::int64_t z_dim);

}  // namespace wan
