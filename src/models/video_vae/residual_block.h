#pragma once
// ResidualBlock: norm, SiLU, causal convolution, twice, plus a shortcut.

#include "models/video_vae/stage.h"
#include "nn/causal_conv3d.h"

namespace wan {

class ResidualBlock final : public Stage {
 public:
  ResidualBlock(const WeightScope& scope, std::int64_t in, std::int64_t out);

  /// Where the channels stay the same.
  bool in_place() const override { return in_ == out_; }
  Shape output_shape(const Shape& group, GroupKind) const override { return conv1_.output_shape(group); }
  /// x [T, H, W, in] -> out [T, H, W, out]; out is x where in_place(), and only there.
  void forward(ExecContext& ctx, StreamState& state, const TensorView& x,
               const TensorView& out) const override;

 private:
  std::int64_t in_;
  std::int64_t out_;
  Tensor norm1_;  // gamma [in]
  Tensor norm2_;  // gamma [out]
  CausalConv3d conv1_;
  CausalConv3d conv2_;
  CausalConv3d shortcut_;  // 1 x 1 x 1 where the channels change
};

/// A causal convolution over the frames that go by, its input normed and through SiLU:
/// out = conv(silu(norm(x))) (+ residual). The start and the end of every block. x may be what StreamState::take_input
/// gave for `conv`.
void norm_silu_conv(ExecContext& ctx, StreamState& state, const TensorView& x, const Tensor& gamma,
                    const CausalConv3d& conv, const TensorView& out, const TensorView& residual = {});

/// A 3 x 3 x 3 causal convolution that keeps height and width.
ConvShape same_size_conv(std::int64_t in, std::int64_t out);

/// "gamma" of a scope: [channels, 1, 1, 1] for norms of frames of a video, [channels, 1, 1] of single frames.
Tensor load_gamma(const WeightScope& scope, const Shape& stored);

/// [T, H, W, C] -> [T H W, C].
TensorView pixels(const TensorView& frames);

}  // namespace wan
