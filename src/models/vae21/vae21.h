#pragma once
// Vae21: VAE 2.1 (Wan2.1_VAE.pth), the autoencoder of every A14B model.

#include "models/vae21/decoder.h"
#include "models/vae21/encoder.h"

namespace wan {

struct Vae21Precision {
  DType compute = DType::kF32;  // of weights and activations
};

class Vae21 final : public VideoVae {
 public:
  /// scope: the whole file's. Call its report's check() before anything else is called. Throws BadFile for a
  /// file of another model, and Unsupported for other than 16 latent channels or a precision other than f32.
  explicit Vae21(const WeightScope& scope, const Vae21Precision& precision = {});

  const Vae21Config& config() const { return config_; }
  VaeGeometry geometry() const override { return config_.geometry(); }

  VaePlan plan_decode(const LatentExtent& extent, std::size_t byte_budget) const override;
  VaePlan plan_encode(const LatentExtent& extent, std::size_t byte_budget) const override;

  /// Taps: "vae.conv2" and "vae.decoder.*", each [T, H, W, C], once for each latent frame (and tile).
  void decode(ExecContext& ctx, const TensorView& latents, const VaePlan& plan,
              const FrameConsumer& sink) const override;
  /// Taps: "vae.encoder.*", likewise.
  void encode(ExecContext& ctx, const FrameSource& source, const VaePlan& plan,
              const TensorView& latents) const override;

 private:
  /// For one tile of the plan.
  StreamPlan decode_stream(const VaePlan& plan) const;
  StreamPlan encode_stream(const VaePlan& plan) const;
  void decode_tile(ExecContext& ctx, const StreamPlan& stream, const TensorView& latents,
                   const FrameConsumer& sink) const;
  void encode_tile(ExecContext& ctx, const StreamPlan& stream, const FrameSource& source,
                   const TensorView& latents) const;

  Vae21Config config_;
  Vae21Encoder encoder_;
  Vae21Decoder decoder_;
};

}  // namespace wan
