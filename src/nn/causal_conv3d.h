#pragma once
// CausalConv3d: a convolution that sees this frame and earlier ones only, with its weights; and how convolution
// weights of a checkpoint become channels-last.

#include "nn/feature_cache.h"
#include "ops/conv3d.h"
#include "weights/weight_scope.h"

namespace wan {

struct ConvShape {
  std::int64_t in;
  std::int64_t out;
  std::array<int, 3> kernel;  // time, height, width
  std::array<int, 3> stride = {1, 1, 1};
  SpatialPadding padding = {};
};

class CausalConv3d {
 public:
  CausalConv3d() = default;
  /// "weight" [out, in, kt, kh, kw] in the scope's precision and "bias" [out] in f32: PyTorch's nn.Conv3d.
  CausalConv3d(const WeightScope& scope, const ConvShape& shape);
  /// weight [out, kt, kh, kw, in] f32 or bf16 and bias [out] f32; empty tensors stand for weights that were not loaded.
  CausalConv3d(Tensor weight, Tensor bias, const ConvShape& shape);
  /// nn.Conv2d: "weight" [out, in, kh, kw]; kernel[0] must be 1.
  static CausalConv3d load_2d(const WeightScope& scope, const ConvShape& shape);

  const ConvShape& shape() const { return shape_; }
  /// Frames before the group that it reads.
  int history() const { return shape_.kernel[0] - shape_.stride[0]; }
  /// Output for a group [T, H, W, in] (history not counted).
  Shape output_shape(const Shape& group) const;

  /// [out, kt, kh, kw, in]
  Shape weight_shape() const;
  /// Whether putting the weights in a ring's order costs less than moving its history of such frames [T, H, W, in].
  bool turns_cheaply(const Shape& frames) const;

  /// out = convolution of x (+ residual). x [history + T, H, W, in]; residual may be out; see Conv3dArgs.
  void forward(ExecContext& ctx, const TensorView& x, const TensorView& out,
               const TensorView& residual = {}) const;
  /// The same of a cache's window, whose halo stands for as much of the padding. Where the oldest frame is not in front, takes weights of the shape above from the
  /// workspace, their taps in the frames' order.
  void forward(ExecContext& ctx, const FrameWindow& x, const TensorView& out,
               const TensorView& residual = {}) const;
  /// Likewise, the output's channels in two halves.
  void forward_halves(ExecContext& ctx, const FrameWindow& x, const TensorView& first,
                      const TensorView& second) const;

 private:
  /// With the taps in the order of the window's frames.
  TensorView weight_of(ExecContext& ctx, const FrameWindow& window) const;
  /// What the window's halo leaves of it.
  SpatialPadding padding_of(const FrameWindow& window) const;

  ConvShape shape_{};
  Tensor weight_;
  Tensor bias_;
};

/// A checkpoint's [O, I, kt, kh, kw] (or [O, I, kh, kw]) as [O, kt, kh, kw, I].
TensorView channels_last(const TensorView& weight);

}  // namespace wan
