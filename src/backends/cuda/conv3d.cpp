#include "ops/conv3d.h"

#include "backends/cuda/backend_impl.h"
#include "backends/cuda/kernels/data_movement.h"
#include "backends/cuda/kernels/elementwise.h"
#include "backends/cuda/kernels/plain_products.h"

namespace wan::cuda {

namespace {

/// The first `count` channels of each pixel.
TensorView first_channels(const TensorView& frames, std::int64_t count) {
  return frames.slice(frames.rank() - 1, 0, count);
}

}  // namespace

void CudaBackend::take_scratch(Workspace& workspace, const Conv3dArgs& args) {
  cuda::take_scratch(workspace, args);
}

void CudaBackend::pad(const TensorView& x, const SpatialPadding& edges, const TensorView& padded) {
  if (padded.data() == x.data()) return;
  launch_fill_zero(stream_, padded);
  const TensorView inside =
      padded.slice(1, edges.top, edges.top + x.dim(1)).slice(2, edges.left, edges.left + x.dim(2));
  launch_copy(stream_, {x, first_channels(inside, x.dim(3))});
}

void CudaBackend::pad_weight(const TensorView& weight, const TensorView& padded) {
  if (padded.data() == weight.data()) return;
  launch_fill_zero(stream_, padded);
  launch_copy(stream_, {weight, first_channels(padded.slice(0, 0, weight.dim(0)), weight.dim(4))});
}

void CudaBackend::run(ExecContext& ctx, const Conv3dArgs& args) {
  const cudaStream_t stream = stream_for("conv3d", {args.x, args.weight, args.bias, args.residual, args.out});
  if (args.out.elements() == 0) return;
  const Workspace::Scope scope(ctx.workspace);
  const Conv3dScratch scratch(ctx.workspace, args);
  Conv3dArgs product = scratch.product;
  convert(args.x, scratch.x);
  convert(args.weight, scratch.weight);
  pad(scratch.x, scratch.edges, product.x);
  pad_weight(scratch.weight, product.weight);

  // The convolution, with the bias where cuDNN has an engine for that, and the rest in a kernel of our own.
  const bool biased = args.bias && scratch.whole && convolutions_.run(stream, ctx.workspace, product);
  if (!biased) {
    product.bias = {};
    if (!convolutions_.run(stream, ctx.workspace, product)) return launch_plain_conv3d(stream, args);
  }
  const TensorView bias = biased ? TensorView() : args.bias;
  if (!bias && !args.residual && !scratch.apart) return;
  if (!scratch.whole) launch_copy(stream, {first_channels(product.out, args.out.dim(3)), scratch.result});
  launch_finish_frames(stream,
                       {.x = scratch.result, .bias = bias, .residual = args.residual, .out = args.out});
}

}  // namespace wan::cuda
