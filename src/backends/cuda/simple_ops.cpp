// The ops that are one kernel each.

#include <limits>

#include "backends/cuda/backend_impl.h"
#include "backends/cuda/kernels/channel_resample.h"
#include "backends/cuda/kernels/data_movement.h"
#include "backends/cuda/kernels/elementwise.h"
#include "backends/cuda/kernels/rows.h"

namespace wan::cuda {

void CudaBackend::run(ExecContext&, const ActivationArgs& args) {
  launch_activation(stream_for("activation", {args.x, args.out}), args);
}

void CudaBackend::run(ExecContext&, const GatedGeluArgs& args) {
  launch_gated_gelu(stream_for("gated_gelu", {args.gate, args.x, args.out}), args);
}

void CudaBackend::run(ExecContext&, const GatedResidualArgs& args) {
  launch_gated_residual(stream_for("gated_residual", {args.x, args.y, args.gate}), args);
}

void CudaBackend::run(ExecContext&, const LinearCombinationArgs& args) {
  for (const auto& term : args.terms) stream_for("linear_combination", {term.x});
  launch_linear_combination(stream_for("linear_combination", {args.out}), args);
}

void CudaBackend::run(ExecContext&, const LayerNormArgs& args) {
  const cudaStream_t stream =
      stream_for("layer_norm", {args.x, args.weight, args.bias, args.scale, args.shift, args.out});
  launch_layer_norm(stream, args);
}

void CudaBackend::run(ExecContext&, const RmsNormArgs& args) {
  launch_rms_norm(stream_for("rms_norm", {args.x, args.weight, args.out}), args);
}

void CudaBackend::run(ExecContext&, const RmsNormRopeArgs& args) {
  launch_rms_norm_rope(stream_for("rms_norm_rope", {args.x, args.weight, args.table, args.out}), args);
}

void CudaBackend::run(ExecContext&, const ChannelNormArgs& args) {
  launch_channel_norm(stream_for("channel_norm", {args.x, args.gamma, args.out}), args);
}

void CudaBackend::run(ExecContext&, const AverageDownArgs& args) {
  launch_average_down(stream_for("average_down", {args.in, args.out}), args);
}

void CudaBackend::run(ExecContext&, const DuplicateUpArgs& args) {
  launch_duplicate_up(stream_for("duplicate_up", {args.in, args.out}), args);
}

void CudaBackend::run(ExecContext&, const CopyArgs& args) {
  launch_copy(stream_for("copy", {args.from, args.out}), args);
}

void CudaBackend::run(ExecContext&, const FillZeroArgs& args) {
  launch_fill_zero(stream_for("fill_zero", {args.view}), args.view);
}

bool CudaBackend::supports(const EmbeddingArgs& args) const {
  return args.table.dim(0) <= std::numeric_limits<int>::max();
}

void CudaBackend::run(ExecContext&, const EmbeddingArgs& args) {
  launch_embedding(stream_for("embedding", {args.table, args.out}), args.table, args.ids, args.out);
}

void CudaBackend::run(ExecContext&, const PatchifyArgs& args) {
  launch_patchify(stream_for("patchify", {args.latent, args.tokens}), args);
}

void CudaBackend::run(ExecContext&, const UnpatchifyArgs& args) {
  launch_unpatchify(stream_for("unpatchify", {args.latent, args.tokens}), args);
}

/// A copy: a source of stride 0 in the two new dimensions is read twice in each.
void CudaBackend::run(ExecContext&, const UpsampleArgs& args) {
  const std::int64_t frames = args.x.dim(0);
  const std::int64_t height = args.x.dim(1);
  const std::int64_t width = args.x.dim(2);
  const std::int64_t channels = args.x.dim(3);
  const Shape shape{frames, height, 2, width, 2, channels};
  const Shape strides{height * width * channels, width * channels, 0, channels, 0, 1};
  const TensorView repeated(args.x.data(), args.x.dtype(), shape, strides, args.x.device());
  launch_copy(stream_for("upsample_nearest_2x", {args.x, args.out}), {repeated, args.out.reshape(shape)});
}

}  // namespace wan::cuda
