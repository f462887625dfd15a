#pragma once
// AttentionBlock: attention with one head over the pixels of each frame.

#include "models/video_vae/stream.h"
#include "nn/causal_conv3d.h"

namespace wan {

class AttentionBlock {
 public:
  AttentionBlock(const WeightScope& scope, std::int64_t channels);

  /// x [T, H, W, C] += attention(norm(x)), frame by frame.
  void forward(ExecContext& ctx, const TensorView& x) const;

 private:
  std::int64_t channels_;
  Tensor norm_;        // gamma [C]
  Tensor qkv_weight_;  // [3C, C]
  Tensor qkv_bias_;    // [3C]
  CausalConv3d proj_;
};

}  // namespace wan
