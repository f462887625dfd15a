#pragma once
// Decoder of VAE 2.1: one latent frame in, one group of video frames out.

#include <string>
#include <variant>
#include <vector>

#include "models/vae21/config.h"
#include "models/video_vae/middle.h"
#include "models/video_vae/resample.h"

namespace wan {

class Vae21Decoder {
 public:
  /// scope: the whole file's ("conv2" and "decoder").
  Vae21Decoder(const WeightScope& scope, const Vae21Config& config);

  /// Everything that forward() uses for latent frames of height x width.
  void plan(std::int64_t height, std::int64_t width, StreamPlan& plan) const;
  /// latent [z, 1, h, w] f32, any strides, normalised -> sink gets [T, H, W, 3], T = 1 in the first group.
  void forward(ExecContext& ctx, StreamState& state, const TensorView& latent,
               const FrameConsumer& sink) const;

 private:
  using Stage = std::variant<ResidualBlock, Upsample>;
  struct NamedStage {
    std::string name;
    Stage layer;
  };

  TensorView first_convolutions(ExecContext& ctx, StreamState& state, const TensorView& latent) const;

  CausalConv3d conv2_;  // 1 x 1 x 1, from normalised latents
  CausalConv3d conv1_;
  Middle middle_;
  std::vector<NamedStage> upsamples_;
  Tensor head_norm_;  // gamma [dim of the last level]
  CausalConv3d head_;
};

}  // namespace wan
