#pragma once
// Mean and deviation of each latent channel of VAE 2.2.

#include "models/video_vae/latent_statistics.h"

namespace wan {

/// Those of Wan2.2_VAE.pth. Throws Unsupported for any number of channels but 48: none are published.
LatentStatistics vae22_latent_statistics(std::int64_t z_dim);

}  // namespace wan
