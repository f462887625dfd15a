#include "ops/conv3d.h"

#include "backends/cuda/backend_impl.h"
#include "backends/cuda/kernels/data_movement.h"
#include "backends/cuda/kernels/elementwise.h"
#include "backends/cuda/kernels/plain_products.h"

namespace wan {

using namespace cuda;

namespace {

/// The first `count` channels of each pixel.
TensorView first_channels(const TensorView& frames, std::int64_t count) {
  return frames.slice(frames.rank() - 1, 0, count);
}

/// Fills Conv3dScratch::product's x: x with zero rows and columns round each frame and zero channels after its own.
void pad(cudaStream_t stream, const TensorView& x, const SpatialPadding& edges, const TensorView& padded) {
  if (padded.data() == x.data()) return;
  launch_fill_zero(stream, padded);
  const TensorView inside =
      padded.slice(1, edges.top, edges.top + x.dim(1)).slice(2, edges.left, edges.left + x.dim(2));
  launch_copy(stream, {x, first_channels(inside, x.dim(3))});
}

/// Likewise weight [O, kt, kh, kw, I], with zeros to so many outputs and inputs.
void pad_weight(cudaStream_t stream, const TensorView& weight, const TensorView& padded) {
  if (padded.data() == weight.data()) return;
  launch_fill_zero(stream, padded);
  launch_copy(stream, {weight, first_channels(padded.slice(0, 0, weight.dim(0)), weight.dim(4))});
}

}  // namespace

void run_kernel(CudaBackend& gpu, ExecContext& ctx, const Conv3dArgs& args) {
  const cudaStream_t stream = gpu.stream();
  if (args.out.elements() == 0) return;
  const Workspace::Scope scope(ctx.workspace);
  const Conv3dScratch scratch(ctx.workspace, args);
  Conv3dArgs product = scratch.product;
  gpu.convert(args.x, scratch.x);
  gpu.convert(args.weight, scratch.weight);
  pad(stream, scratch.x, scratch.edges, product.x);
  pad_weight(stream, scratch.weight, product.weight);

  // The convolution, with the bias where cuDNN has an engine for that, and the rest in a kernel of our own.
  const bool biased =
      args.bias && scratch.whole && gpu.convolutions().run(stream, ctx.workspace, scratch.library, product);
  if (!biased) {
    product.bias = {};
    if (!gpu.convolutions().run(stream, ctx.workspace, scratch.library, product))
      return launch_plain_conv3d(stream, args);
  }
  const TensorView bias = biased ? TensorView() : args.bias;
  if (!bias && !args.residual && !scratch.apart) return;
  if (!scratch.whole) launch_copy(stream, {first_channels(product.out, args.out.dim(3)), scratch.result});
  launch_finish_frames(stream,
                       {.x = scratch.result, .bias = bias, .residual = args.residual, .out = args.out});
}

}  // namespace wan
