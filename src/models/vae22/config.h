#pragma once
// Vae22Config: the dimensions of a VAE 2.2, which the official layout keeps in code and not in its files.

#include "models/video_vae/levels.h"
#include "ops/channel_resample.h"

namespace wan {

struct Vae22Config {
  static constexpr int kPatch = 2;  // pixels a side that the convolutions see as one

  std::int64_t encoder_dim = 0;  // channels of the encoder's first convolution
  std::int64_t decoder_dim = 0;  // the decoder's unit of channels
  std::int64_t z_dim = 0;
  VaeLevels levels;  // of both

  std::int64_t encoder_channels(int level) const { return encoder_dim * multiplier(level); }
  std::int64_t decoder_channels(int level) const { return decoder_dim * multiplier(level); }
  /// Between `level` and the next coarser one; 1 and 1 after the last.
  ResampleFactors factors(int level) const;
  VaeGeometry geometry() const {
    return {.z_dim = z_dim,
            .temporal_stride = levels.temporal_stride(),
            .spatial_stride = kPatch * levels.spatial_stride()};
  }

 private:
  std::int64_t multiplier(int level) const { return levels.multipliers[static_cast<std::size_t>(level)]; }
};

/// Whether a file's layers lie as in a VAE 2.2, whatever it lacks.
bool looks_like_vae22(const Checkpoint& checkpoint);

/// From the tensors' shapes and from which tensors exist. Throws BadFile where they fit no VAE 2.2. Tensors that
/// contradict one another are left to the report of the weights that the model then asks for.
Vae22Config vae22_config(const WeightScope& scope);

}  // namespace wan
