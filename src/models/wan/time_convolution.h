#pragma once
// Convolutions over a clip's frames, causal in time, as the encoders of sound and of faces have them.

#include "nn/linear.h"

namespace wan {

/// A convolution over a frame and the two before it.
struct TimeConvolutionWeights {
  TensorView kernel;  // [out, in, 3] f32
  TensorView bias;    // [out] f32

  void visit(const WeightVisitor& at, std::int64_t in, std::int64_t out) {
    at.tensor("conv.weight", kernel, {out, in, 3}, WeightDType::kFloat32);
    at.tensor("conv.bias", bias, {out}, WeightDType::kFloat32);
  }
};

/// `count` times the first frame of x [B, T, C]: a view for reading.
TensorView repeated_first_frame(const TensorView& x, std::int64_t count);

/// x [B, T, in], any strides -> [B, (T - 1) / stride + 1, out], taken from the workspace. The first frame stands for those before it.
TensorView convolve_in_time(ExecContext& ctx, const TimeConvolutionWeights& weights, const TensorView& x,
                            std::int64_t stride);

/// A layer norm without weights, then SiLU; in place, over rows of `width`. x is contiguous.
void norm_and_activate(ExecContext& ctx, const TensorView& x, std::int64_t width);

/// x [B, T, in], any strides, halved in time by each of the two, which norm_and_activate() follows -> [B, T', out of the last].
TensorView halve_twice(ExecContext& ctx, const TimeConvolutionWeights& middle,
                       const TimeConvolutionWeights& last, const TensorView& x);

}  // namespace wan
