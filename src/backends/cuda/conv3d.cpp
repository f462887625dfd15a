#include "ops/conv3d.h"

#include "backends/cuda/backend_impl.h"
#include "backends/cuda/kernels/data_movement.h"
#include "backends/cuda/kernels/elementwise.h"
#include "backends/cuda/kernels/plain_products.h"

namespace wan {

using namespace cuda;

namespace {

bool is_even(const SpatialPadding& padding) {
  return padding.top == padding.bottom && padding.left == padding.right;
}

/// The next multiple of 16 bytes: what convolutions on tensor cores want of a pixel.
std::int64_t whole_channels(std::int64_t channels, DType dtype) {
  const auto pack = static_cast<std::int64_t>(16 / dtype_size(dtype));
  return (channels + pack - 1) / pack * pack;
}

/// The first `count` channels of each pixel.
TensorView first_channels(const TensorView& frames, std::int64_t count) {
  return frames.slice(frames.rank() - 1, 0, count);
}

/// x with zero rows and columns round each frame and zero channels after its own, in the workspace.
TensorView padded(cudaStream_t stream, Workspace& workspace, const TensorView& x,
                  const SpatialPadding& padding, std::int64_t channels) {
  const TensorView frames = workspace.take(x.dtype(), {x.dim(0), x.dim(1) + padding.top + padding.bottom,
                                                       x.dim(2) + padding.left + padding.right, channels});
  launch_fill_zero(stream, frames);
  const TensorView inside =
      frames.slice(1, padding.top, padding.top + x.dim(1)).slice(2, padding.left, padding.left + x.dim(2));
  launch_copy(stream, {x, first_channels(inside, x.dim(3))});
  return frames;
}

/// weight [O, kt, kh, kw, I] with zeros to that many outputs and inputs, in the workspace.
TensorView padded_weight(cudaStream_t stream, Workspace& workspace, const TensorView& weight,
                         std::int64_t outputs, std::int64_t inputs) {
  const TensorView made =
      workspace.take(weight.dtype(), {outputs, weight.dim(1), weight.dim(2), weight.dim(3), inputs});
  launch_fill_zero(stream, made);
  launch_copy(stream, {weight, first_channels(made.slice(0, 0, weight.dim(0)), weight.dim(4))});
  return made;
}

}  // namespace

void run_kernel(CudaBackend& gpu, ExecContext& ctx, const Conv3dArgs& args) {
  const cudaStream_t stream = gpu.stream();
  if (args.out.elements() == 0) return;
  const Workspace::Scope scope(ctx.workspace);
  // bf16 where everything is; otherwise f32, whatever has to be converted for it.
  const bool all_bf16 = args.x.dtype() == DType::kBF16 && args.weight.dtype() == DType::kBF16 &&
                        args.out.dtype() == DType::kBF16;
  const DType type = all_bf16 ? DType::kBF16 : DType::kF32;
  Conv3dArgs product = args;
  product.x = gpu.as_type(ctx.workspace, args.x, type);
  product.weight = gpu.as_type(ctx.workspace, args.weight, type);
  const std::int64_t inputs = whole_channels(args.x.dim(3), type);
  const std::int64_t outputs = whole_channels(args.out.dim(3), type);
  // cuDNN's engines take the same padding on both sides of a dimension.
  if (!is_even(args.padding) || inputs != args.x.dim(3)) {
    const SpatialPadding rows_and_columns = is_even(args.padding) ? SpatialPadding() : args.padding;
    product.x = padded(stream, ctx.workspace, product.x, rows_and_columns, inputs);
    if (!is_even(args.padding)) product.padding = {};
  }
  if (inputs != args.x.dim(3) || outputs != args.out.dim(3))
    product.weight = padded_weight(stream, ctx.workspace, product.weight, outputs, inputs);

  // The convolution, with the bias where cuDNN has an engine for that, and the rest in a kernel of our own. Where the result is
  // the residual's memory too, or of another type or more channels, the convolution needs other memory.
  const bool whole = outputs == args.out.dim(3);
  const bool apart =
      !whole || type != args.out.dtype() || (args.residual && args.residual.data() == args.out.data());
  if (apart)
    product.out = ctx.workspace.take(type, {args.out.dim(0), args.out.dim(1), args.out.dim(2), outputs});
  product.residual = {};
  const bool biased = args.bias && whole && gpu.convolutions().run(stream, ctx.workspace, product);
  if (!biased) {
    product.bias = {};
    if (!gpu.convolutions().run(stream, ctx.workspace, product)) return launch_plain_conv3d(stream, args);
  }
  const TensorView bias = biased ? TensorView() : args.bias;
  if (!bias && !args.residual && !apart) return;
  TensorView result = product.out;
  if (!whole) {
    result = ctx.workspace.take(type, args.out.shape());
    launch_copy(stream, {first_channels(product.out, args.out.dim(3)), result});
  }
  launch_finish_frames(stream, {.x = result, .bias = bias, .residual = args.residual, .out = args.out});
}

}  // namespace wan
