#pragma once
// Encoder of VAE 2.1: one group of video frames in, their latent frame out.

#include <string>
#include <variant>
#include <vector>

#include "models/vae21/config.h"
#include "models/video_vae/middle.h"
#include "models/video_vae/resample.h"

namespace wan {

class Vae21Encoder {
 public:
  /// scope: the whole file's ("encoder" and "conv1").
  Vae21Encoder(const WeightScope& scope, const Vae21Config& config);

  /// Everything that forward() uses for groups of frames [T, H, W, 3].
  void plan(const Shape& group, StreamPlan& plan) const;
  /// Frames `first` to `first` + group[0] of the source, group = [T, H, W, 3] -> latent [z, 1, h, w] f32, any
  /// strides: the mean, normalised.
  void forward(ExecContext& ctx, StreamState& state, const FrameSource& source, std::int64_t first,
               const Shape& group, const TensorView& latent) const;

 private:
  using Stage = std::variant<ResidualBlock, Downsample>;
  struct NamedStage {
    std::string name;
    Stage layer;
  };

  TensorView first_convolution(ExecContext& ctx, StreamState& state, const FrameSource& source,
                               std::int64_t first, const Shape& group) const;

  CausalConv3d conv1_;
  std::vector<NamedStage> downsamples_;
  Middle middle_;
  Tensor head_norm_;  // gamma [dim of the last level]
  CausalConv3d head_;
  CausalConv3d mean_;  // 1 x 1 x 1: "conv1" of the file, its rows of the mean, to normalised latents
};

}  // namespace wan
