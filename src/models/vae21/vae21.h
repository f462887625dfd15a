#pragma once
// Vae21: VAE 2.1 (Wan2.1_VAE.pth), the autoencoder of every A14B model.

#include "models/vae21/config.h"
#include "models/video_vae/streamed_vae.h"

namespace wan {

class Vae21 final : public StreamedVae {
 public:
  /// scope: the whole file's. Call its report's check() before anything else is called. Throws BadFile for a
  /// file of another model, and Unsupported for other than 16 latent channels or a precision other than f32 and bf16.
  explicit Vae21(const WeightScope& scope, const VaePrecision& precision = {});
  /// With dimensions that are given, not read from a file.
  Vae21(const WeightScope& scope, const VaePrecision& precision, const Vae21Config& config);

  const Vae21Config& config() const { return config_; }

 private:
  Vae21Config config_;
};

}  // namespace wan
