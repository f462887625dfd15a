#pragma once
// VaeDecoder: one latent frame in, one group of video frames out.

#include "models/video_vae.h"
#include "models/video_vae/latent_statistics.h"
#include "models/video_vae/middle.h"
#include "models/video_vae/stage.h"

namespace wan {

/// What differs between VAEs beside the stages.
struct VaeDecoderShape {
  std::int64_t first_channels;  // of the first stage's input
  std::int64_t last_channels;   // of the last stage's output
  int patch = 1;                // pixels a side that the convolutions see as one
};

class VaeDecoder {
 public:
  /// scope: the whole file's ("conv2" and "decoder").
  VaeDecoder(const WeightScope& scope, const VaeDecoderShape& shape, const LatentStatistics& statistics,
             StageList upsamples);

  /// latent [z, 1, h, w] f32, any strides, normalised -> sink gets [T, H, W, 3], T = 1 in the first group; both are the state's strip
  /// of the whole.
  void forward(ExecContext& ctx, StreamState& state, const TensorView& latent,
               const FrameConsumer& sink) const;

 private:
  TensorView first_convolutions(ExecContext& ctx, StreamState& state, const TensorView& latent) const;
  /// x [t, H / patch, W / patch, C] -> frames [t, H, W, 3] f32.
  void head(ExecContext& ctx, StreamState& state, const TensorView& x, const TensorView& frames) const;

  int patch_;
  CausalConv3d conv2_;  // 1 x 1 x 1, from normalised latents, in f32
  CausalConv3d conv1_;
  Middle middle_;
  StageList upsamples_;
  Tensor head_norm_;  // gamma [last channels]
  CausalConv3d head_;
};

}  // namespace wan
