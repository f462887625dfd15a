#pragma once
// 3D convolution on channels-last video, without any padding in time: causal layers hand over the frames
// before.

#include <array>

#include "ops/exec_context.h"

namespace wan {

/// Zero rows and columns around each frame.
struct SpatialPadding {
  int top = 0, bottom = 0, left = 0, right = 0;
};

/// out[t, y, x, o] = bias[o] + sum_{a, b, c, i} x[st t + a, sy y + b - top, sx x + c - left, i] weight[o, a,
/// b, c, i]
///                   (+ residual[t, y, x, o]).
/// x [T, H, W, I] and out [T', H', W', O] f32 or bf16, channels contiguous, pixels of a frame contiguous,
/// frames may be strided. weight [O, kt, kh, kw, I] contiguous, f32 or bf16 (channels last: reorder a
/// checkpoint's [O, I, kt, kh, kw] when it is loaded). bias [O] f32 or empty. residual like out or empty; it
/// may be out itself. T' = (T - kt) / st + 1. A 2D convolution has kt = 1. Accumulates in f32.
struct Conv3dArgs {
  TensorView x;
  TensorView weight;
  TensorView bias;
  std::array<int, 3> stride = {1, 1, 1};  // time, height, width
  SpatialPadding padding;
  TensorView residual;
  TensorView out;

  static void visit_views(auto& args, auto&& visit) {
    for (auto* view : {&args.x, &args.weight, &args.bias, &args.residual, &args.out}) visit(*view);
  }
  /// 2 T' H' W' O kt kh kw I.
  std::int64_t flops() const { return 2 * out.elements() * (weight.elements() / weight.dim(0)); }
};

/// Shape [T', H', W', O] that the arguments' x, weight, stride and padding give.
Shape conv3d_output_shape(const Conv3dArgs& args);

void validate(const Conv3dArgs& args);
void reference(const Conv3dArgs& args);
void conv3d(ExecContext& ctx, const Conv3dArgs& args);

}  // namespace wan
