#include "models/wan/time_convolution.h"

#include "ops/activation.h"
#include "ops/backend.h"
#include "ops/copy.h"
#include "ops/layer_norm.h"

namespace wan {

namespace {

constexpr float kNormEpsilon = 1e-6f;
constexpr std::int64_t kTaps = 3;  // frames that a convolution sees

}  // namespace

TensorView repeated_first_frame(const TensorView& x, std::int64_t count) {
  return TensorView(x.data(), x.dtype(), {x.dim(0), count, x.dim(2)}, {x.stride(0), 0, x.stride(2)},
                    x.device());
}

TensorView convolve_in_time(ExecContext& ctx, const TimeConvolutionWeights& weights, const TensorView& x,
                            std::int64_t stride) {
  const std::int64_t sequences = x.dim(0), frames = x.dim(1), in = x.dim(2);
  const std::int64_t made = (frames - 1) / stride + 1;
  const std::int64_t out_width = weights.kernel.dim(0);
  const TensorView out = ctx.workspace.take(DType::kF32, {sequences, made, out_width});
  const Workspace::Scope scope(ctx.workspace);
  const std::int64_t before = kTaps - 1;
  const TensorView padded = ctx.workspace.take(DType::kF32, {sequences, before + frames, in});
  copy(ctx, {x, padded.slice(1, before, before + frames)});
  copy(ctx, {repeated_first_frame(x, before), padded.slice(1, 0, before)});
  // In the order of the kernel's [in, 3], so that the convolution is a product.
  const TensorView windows = ctx.workspace.take(DType::kF32, {sequences, made, in, kTaps});
  const TensorView overlapping(padded.data(), DType::kF32, windows.shape(),
                               {padded.stride(0), stride * in, 1, in}, padded.device());
  copy(ctx, {overlapping, windows});
  const Linear product{.weight = weights.kernel.reshape({out_width, in * kTaps}), .bias = weights.bias};
  product(ctx, windows.reshape({sequences * made, in * kTaps}), out.reshape({sequences * made, out_width}));
  return out;
}

void norm_and_activate(ExecContext& ctx, const TensorView& x, std::int64_t width) {
  const TensorView rows = x.reshape({x.elements() / width, width});
  layer_norm(ctx, {.x = rows,
                   .weight = {},
                   .bias = {},
                   .scale = {},
                   .shift = {},
                   .segments = {},
                   .eps = kNormEpsilon,
                   .out = rows});
  activation(ctx, {.x = rows, .kind = ActivationKind::kSiLU, .out = rows});
}

TensorView halve_twice(ExecContext& ctx, const TimeConvolutionWeights& middle_weights,
                       const TimeConvolutionWeights& last_weights, const TensorView& x) {
  const TensorView middle = convolve_in_time(ctx, middle_weights, x, 2);
  norm_and_activate(ctx, middle, middle.dim(2));
  const TensorView last = convolve_in_time(ctx, last_weights, middle, 2);
  norm_and_activate(ctx, last, last.dim(2));
  return last;
}

}  // namespace wan
