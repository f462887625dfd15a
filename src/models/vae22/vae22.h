#pragma once
// Vae22: VAE 2.2 (Wan2.2_VAE.pth), the autoencoder of TI2V-5B.

#include "models/vae22/config.h"
#include "models/video_vae/streamed_vae.h"

namespace wan {

class Vae22 final : public StreamedVae {
 public:
  /// scope: the whole file's. Call its report's check() before anything else is called. Throws BadFile for a
  /// file of another model, and Unsupported for other than 48 latent channels or a precision other than f32 and bf16.
  /// Taps beside the blocks: "NAME.avg_shortcut" and the residual blocks inside of each.
  explicit Vae22(const WeightScope& scope, const VaePrecision& precision = {});
  /// With dimensions that are given, not read from a file.
  Vae22(const WeightScope& scope, const VaePrecision& precision, const Vae22Config& config);

  const Vae22Config& config() const { return config_; }

 private:
  Vae22Config config_;
};

}  // namespace wan
