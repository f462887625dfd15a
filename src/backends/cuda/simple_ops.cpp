// The ops that are one kernel each, or a copy.

#include <limits>

#include "backends/cuda/backend_impl.h"
#include "backends/cuda/kernels/channel_resample.h"
#include "backends/cuda/kernels/data_movement.h"
#include "backends/cuda/kernels/elementwise.h"
#include "backends/cuda/kernels/max_pool_2x2.h"
#include "backends/cuda/kernels/network_ops.h"
#include "backends/cuda/kernels/rows.h"
#include "backends/cuda/kernels/softmax.h"
#include "backends/cuda/kernels/unpack.h"

namespace wan {

using namespace cuda;

void run_kernel(CudaBackend& gpu, ExecContext&, const ActivationArgs& args) {
  launch_activation(gpu.stream(), args);
}

void run_kernel(CudaBackend& gpu, ExecContext&, const GatedActivationArgs& args) {
  launch_gated_activation(gpu.stream(), args);
}

void run_kernel(CudaBackend& gpu, ExecContext&, const GatedResidualArgs& args) {
  launch_gated_residual(gpu.stream(), args);
}

void run_kernel(CudaBackend& gpu, ExecContext&, const LinearCombinationArgs& args) {
  launch_linear_combination(gpu.stream(), args);
}

void run_kernel(CudaBackend& gpu, ExecContext&, const LayerNormArgs& args) {
  launch_layer_norm(gpu.stream(), args);
}

void run_kernel(CudaBackend& gpu, ExecContext&, const RmsNormArgs& args) {
  launch_rms_norm(gpu.stream(), args);
}

void run_kernel(CudaBackend& gpu, ExecContext&, const RmsNormRopeArgs& args) {
  launch_rms_norm_rope(gpu.stream(), args);
}

void run_kernel(CudaBackend& gpu, ExecContext&, const ChannelNormArgs& args) {
  launch_channel_norm(gpu.stream(), args);
}

void run_kernel(CudaBackend& gpu, ExecContext&, const AverageDownArgs& args) {
  launch_average_down(gpu.stream(), args);
}

void run_kernel(CudaBackend& gpu, ExecContext&, const DuplicateUpArgs& args) {
  launch_duplicate_up(gpu.stream(), args);
}

void run_kernel(CudaBackend& gpu, ExecContext&, const MaxPool2x2Args& args) {
  launch_max_pool_2x2(gpu.stream(), args);
}

void run_kernel(CudaBackend& gpu, ExecContext&, const CopyArgs& args) {
  launch_copy(gpu.stream(), args);
}

void run_kernel(CudaBackend& gpu, ExecContext&, const FillZeroArgs& args) {
  launch_fill_zero(gpu.stream(), args.view);
}

bool CudaBackend::supports_op(const EmbeddingArgs& args) const {
  return args.table.dim(0) <= std::numeric_limits<int>::max();
}

void run_kernel(CudaBackend& gpu, ExecContext&, const EmbeddingArgs& args) {
  launch_embedding(gpu.stream(), args.table, args.ids, args.out);
}

void run_kernel(CudaBackend& gpu, ExecContext&, const CountNonFiniteArgs& args) {
  *args.count = gpu.count_non_finite(args.x);
}

void run_kernel(CudaBackend& gpu, ExecContext&, const UnpackArgs& args) {
  launch_unpack(gpu.stream(), args);
}

void run_kernel(CudaBackend& gpu, ExecContext&, const PointwiseArgs& args) {
  launch_pointwise(gpu.stream(), args);
}

void run_kernel(CudaBackend& gpu, ExecContext&, const RowReductionArgs& args) {
  launch_row_reduction(gpu.stream(), args);
}

/// As scores of one head.
void run_kernel(CudaBackend& gpu, ExecContext&, const RowSoftmaxArgs& args) {
  const Shape scores{1, args.x.dim(0), args.x.dim(1)};
  launch_softmax(
      gpu.stream(),
      {.scores = args.x.reshape(scores), .bias = {}, .key_bias = {}, .weights = args.out.reshape(scores)});
}

void run_kernel(CudaBackend& gpu, ExecContext&, const DepthwiseConvArgs& args) {
  launch_depthwise_conv(gpu.stream(), args);
}

void run_kernel(CudaBackend& gpu, ExecContext&, const PatchifyArgs& args) {
  launch_patchify(gpu.stream(), args);
}

void run_kernel(CudaBackend& gpu, ExecContext&, const UnpatchifyArgs& args) {
  launch_unpatchify(gpu.stream(), args);
}

/// A copy: a source of stride 0 in the two new dimensions is read twice in each.
void run_kernel(CudaBackend& gpu, ExecContext&, const UpsampleArgs& args) {
  const std::int64_t frames = args.x.dim(0);
  const std::int64_t height = args.x.dim(1);
  const std::int64_t width = args.x.dim(2);
  const std::int64_t channels = args.x.dim(3);
  const Shape shape{frames, height, 2, width, 2, channels};
  const Shape strides{height * width * channels, width * channels, 0, channels, 0, 1};
  const TensorView repeated(args.x.data(), args.x.dtype(), shape, strides, args.x.device());
  const TensorView& out = args.out;
  const Shape out_strides{out.stride(0), 2 * out.stride(1), out.stride(1), 2 * channels, channels, 1};
  launch_copy(gpu.stream(), {repeated, {out.data(), out.dtype(), shape, out_strides, out.device()}});
}

}  // namespace wan
