#pragma once
// VaeEncoder: one group of video frames in, their latent frame out.

#include "models/video_vae.h"
#include "models/video_vae/latent_statistics.h"
#include "models/video_vae/middle.h"
#include "models/video_vae/stage.h"

namespace wan {

/// What differs between VAEs beside the stages.
struct VaeEncoderShape {
  std::int64_t first_channels;  // of the first stage's input
  std::int64_t last_channels;   // of the last stage's output
  int patch = 1;                // pixels a side that the convolutions see as one
};

class VaeEncoder {
 public:
  /// scope: the whole file's ("encoder" and "conv1").
  VaeEncoder(const WeightScope& scope, const VaeEncoderShape& shape, const LatentStatistics& statistics,
             StageList downsamples);

  /// Frames `first` to `first` + group[0] of the source, group = [T, H, W, 3] -> latent [z, 1, h, w] f32, any
  /// strides: the mean, normalised. Both are the state's strip of the whole, which the source gives.
  void forward(ExecContext& ctx, StreamState& state, const FrameSource& source, std::int64_t first,
               const Shape& group, const TensorView& latent) const;

 private:
  /// The strip of the source's next frames, contiguous.
  void take_pixels(ExecContext& ctx, const Strip& strip, const FrameFill& source,
                   const TensorView& pixels) const;
  /// Frames of the source, group = [t, H, W, 3] of them -> x [t, H / patch, W / patch, C].
  void first_convolution(ExecContext& ctx, StreamState& state, const FrameFill& source, const Shape& group,
                         const TensorView& x) const;

  int patch_;
  CausalConv3d conv1_;
  StageList downsamples_;
  Middle middle_;
  Tensor head_norm_;  // gamma [last channels]
  CausalConv3d head_;
  CausalConv3d mean_;  // 1 x 1 x 1, in f32: "conv1" of the file, its rows of the mean, to normalised latents
};

}  // namespace wan
