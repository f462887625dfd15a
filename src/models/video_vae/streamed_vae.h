#pragma once
// StreamedVae: a VideoVae made of an encoder and a decoder, tile after tile, group of frames after group of frames.

#include "models/video_vae/decoder.h"
#include "models/video_vae/encoder.h"
#include "models/video_vae/plan.h"

namespace wan {

/// f32 or bf16. In bf16 what lies between the layers and the convolutions' and products' weights are; norms, softmax and
/// sums inside of ops, biases, and the layers next to latents stay f32, and so do latents and frames.
struct VaePrecision {
  DType compute = DType::kF32;
};

/// Throws Unsupported where it is neither. `model` ("vae21") begins the message.
void check_precision(const char* model, const VaePrecision& precision);

class StreamedVae : public VideoVae {
 public:
  VaeGeometry geometry() const final { return geometry_; }

  VaePlans decode_plans(const LatentExtent& extent, Backend* device, int ranks) const final;
  VaePlans encode_plans(const LatentExtent& extent, Backend* device, int ranks) const final;

  /// Taps: "vae.conv2" and "vae.decoder.*", each [T, H, W, C], once for each latent frame (and tile); where the plan is
  /// frame by frame, once for each frame that the layer makes of it. On several ranks they are the rank's part.
  void decode(ExecContext& ctx, const TensorView& latents, const VaePlan& plan,
              const FrameConsumer& sink) const final;
  /// Taps: "vae.encoder.*", likewise.
  void encode(ExecContext& ctx, const FrameSource& source, const VaePlan& plan,
              const TensorView& latents) const final;

 protected:
  StreamedVae(const VaeGeometry& geometry, const VaePrecision& precision, VaeEncoder encoder,
              VaeDecoder decoder);

 private:
  /// The context's rank's caches of one of the plan's tiles in a clip of so many latent frames.
  StreamPlan decode_stream(const ExecContext& ctx, const VaePlan& plan, std::int64_t frames) const;
  StreamPlan encode_stream(const ExecContext& ctx, const VaePlan& plan, std::int64_t frames) const;
  std::size_t decode_bytes(const LatentExtent& extent, const VaePlan& plan, Backend* device, int ranks) const;
  std::size_t encode_bytes(const LatentExtent& extent, const VaePlan& plan, Backend* device, int ranks) const;
  void decode_groups(ExecContext& ctx, StreamState& state, const TensorView& latents,
                     const FrameConsumer& sink) const;
  void encode_groups(ExecContext& ctx, StreamState& state, const FrameSource& source,
                     const TensorView& latents) const;
  void decode_tile(ExecContext& ctx, const StreamPlan& stream, const TensorView& latents,
                   const FrameConsumer& sink) const;
  void encode_tile(ExecContext& ctx, const StreamPlan& stream, const FrameSource& source,
                   const TensorView& latents) const;

  StreamOptions stream_options(const VaePlan& plan) const;

  VaeGeometry geometry_;
  VaePrecision precision_;
  VaeEncoder encoder_;
  VaeDecoder decoder_;
};

}  // namespace wan
