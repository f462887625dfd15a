#include "ops/conv3d.h"

#include "backends/cuda/backend_impl.h"
#include "backends/cuda/kernels/data_movement.h"
#include "backends/cuda/kernels/elementwise.h"
#include "backends/cuda/kernels/plain_products.h"

namespace wan::cuda {

namespace {

bool is_even(const SpatialPadding& padding) {
  return padding.top == padding.bottom && padding.left == padding.right;
}

}  // namespace

TensorView CudaBackend::padded(Workspace& workspace, const TensorView& x, const SpatialPadding& padding) {
  const TensorView frames = workspace.take(x.dtype(), {x.dim(0), x.dim(1) + padding.top + padding.bottom,
                                                       x.dim(2) + padding.left + padding.right, x.dim(3)});
  launch_fill_zero(stream_, frames);
  launch_copy(
      stream_,
      {x,
       frames.slice(1, padding.top, padding.top + x.dim(1)).slice(2, padding.left, padding.left + x.dim(2))});
  return frames;
}

void CudaBackend::run(ExecContext& ctx, const Conv3dArgs& args) {
  const cudaStream_t stream = stream_for("conv3d", {args.x, args.weight, args.bias, args.residual, args.out});
  if (args.out.elements() == 0) return;
  const Workspace::Scope scope(ctx.workspace);
  // bf16 where everything is; otherwise f32, whatever has to be converted for it.
  const bool all_bf16 = args.x.dtype() == DType::kBF16 && args.weight.dtype() == DType::kBF16 &&
                        args.out.dtype() == DType::kBF16;
  const DType type = all_bf16 ? DType::kBF16 : DType::kF32;
  Conv3dArgs product = args;
  product.x = as_type(ctx.workspace, args.x, type);
  product.weight = as_type(ctx.workspace, args.weight, type);
  // cuDNN's engines take the same padding on both sides of a dimension.
  if (!is_even(args.padding)) {
    product.x = padded(ctx.workspace, product.x, args.padding);
    product.padding = {};
  }
  if (type == args.out.dtype() && (!args.residual || args.residual.dtype() == type) &&
      convolutions_.run(stream, ctx.workspace, product))
    return;

  // The bare convolution, and the rest in a kernel of our own. Where the result is the residual's memory too, the
  // convolution needs other memory.
  const bool apart = type != args.out.dtype() || (args.residual && args.residual.data() == args.out.data());
  product.out = apart ? ctx.workspace.take(type, args.out.shape()) : args.out;
  product.bias = {};
  product.residual = {};
  if (!convolutions_.run(stream, ctx.workspace, product)) return launch_plain_conv3d(stream, args);
  if (!args.bias && !args.residual && !apart) return;
  launch_finish_frames(stream,
                       {.x = product.out, .bias = args.bias, .residual = args.residual, .out = args.out});
}

}  // namespace wan::cuda
