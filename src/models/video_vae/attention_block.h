#pragma once
// AttentionBlock: attention with one head over the pixels of each frame.

#include "models/video_vae/stream.h"
#include "nn/causal_conv3d.h"

namespace wan {

class AttentionBlock {
 public:
  AttentionBlock(const WeightScope& scope, std::int64_t channels);

  /// x [T, H, W, C] += attention(norm(x)), frame by frame, a part's queries over all parts' keys and values.
  void forward(ExecContext& ctx, const Strip& strip, const TensorView& x) const;

 private:
  /// Queries, keys and values `first` to `last` (of 0, 1, 2) of x [N, C] -> out [N, (last - first) C].
  void project(ExecContext& ctx, const TensorView& x, int first, int last, const TensorView& out) const;

  std::int64_t channels_;
  Tensor norm_;        // gamma [C]
  Tensor qkv_weight_;  // [3C, C]
  Tensor qkv_bias_;    // [3C]
  CausalConv3d proj_;
};

}  // namespace wan
