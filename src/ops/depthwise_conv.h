#pragma once
// 2D convolution of each channel with a kernel of its own.

#include "ops/conv3d.h"

namespace wan {

/// out[n, y, x, c] = bias[c] + sum_{b, a} x[n, sy y + dy b - top, sx x + dx a - left, c] weight[b, a, c], zeros outside.
/// x [N, H, W, C], weight [kh, kw, C] and out [N, H', W', C] f32 contiguous; bias [C] f32 or empty.
/// H' = (H + top + bottom - dy (kh - 1) - 1) / sy + 1, W' likewise. Sums in f32. out must not overlap x.
struct DepthwiseConvArgs {
  TensorView x;
  TensorView weight;
  TensorView bias;
  std::array<int, 2> stride = {1, 1};    // height, width
  std::array<int, 2> dilation = {1, 1};  // dy, dx
  SpatialPadding padding;
  TensorView out;

  static void visit_views(auto& args, auto&& visit) {
    for (auto* view : {&args.x, &args.weight, &args.bias, &args.out}) visit(*view);
  }
  /// 2 N H' W' C kh kw.
  std::int64_t flops() const { return 2 * out.elements() * weight.dim(0) * weight.dim(1); }
};

/// Shape [N, H', W', C] that the arguments give.
Shape depthwise_conv_output_shape(const DepthwiseConvArgs& args);

void validate(const DepthwiseConvArgs& args);
void reference(const DepthwiseConvArgs& args);
void depthwise_conv(ExecContext& ctx, const DepthwiseConvArgs& args);

}  // namespace wan
