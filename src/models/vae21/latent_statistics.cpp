#include "models/vae21/latent_statistics.h"

#include <array>

#include "base/error.h"

namespace wan {

namespace {

// Wan-Video/Wan2.2, wan/modules/vae2_1.py, class Wan2_1_VAE.
constexpr std::array kMean = {-0.7571, -0.7089, -0.9113, 0.1075,  -0.1745, 0.9653,  -0.1517, 1.5508,
                              0.4134,  -0.0715, 0.5517,  -0.3632, -0.1922, -0.9497, 0.2503,  -0.2921};
constexpr std::array kDeviation = {2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743,
                                   3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160};

}  // namespace

LatentStatistics vae21_latent_statistics(std::int64_t z_dim) {
  WAN_CHECK(z_dim == static_cast<std::int64_t>(kMean.size()), kUnsupported,
            "[vae21] expected 16 latent channels (decoder.conv1.weight), got {}: latent statistics are "
            "published for "
            "Wan2.1_VAE.pth only; use that file or one of its layout",
            z_dim);
  return {kMean, kDeviation};
}

}  // namespace wan
