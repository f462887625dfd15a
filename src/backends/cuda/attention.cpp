#include "ops/attention.h"

#include "backends/cuda/backend_impl.h"
#include "backends/cuda/kernels/attention.h"

namespace wan::cuda {

bool is_bf16_attention(const AttentionArgs& args) {
  constexpr std::int64_t kHeadWidth = 128;
  constexpr std::int64_t kPiece = 8;  // elements of 16 bytes
  if (args.bias || args.q.dim(2) != kHeadWidth) return false;
  for (const TensorView& view : {args.q, args.k, args.v, args.out}) {
    if (view.dtype() != DType::kBF16 || reinterpret_cast<std::uintptr_t>(view.data()) % 16 != 0) return false;
    if (view.stride(0) % kPiece != 0 || view.stride(1) % kPiece != 0) return false;
    if (view.stride(0) <= 0 || view.stride(1) <= 0) return false;
  }
  return true;
}

bool CudaBackend::supports(const AttentionArgs& args) const {
  return args.q.dim(2) <= kWidestPlainHead;
}

void CudaBackend::run(ExecContext& ctx, const AttentionArgs& args) {
  const cudaStream_t stream =
      stream_for("attention", {args.q, args.k, args.v, args.bias, args.key_bias, args.out});
  if (args.out.elements() == 0) return;
  const Workspace::Scope scope(ctx.workspace);
  if (is_bf16_attention(args)) {
    const bool hopper = options_.hopper_attention && info_.compute_major == 9 && has_hopper_attention();
    if (hopper && args.key_bias)
      return run_hopper_key_bias_attention(stream, ctx.workspace, info_.multiprocessors, args);
    if (hopper) return run_hopper_attention(stream, ctx.workspace, info_.multiprocessors, args);
    if (!args.key_bias && attentions_.run(stream, ctx.workspace, args)) return;
  }
  AttentionArgs plain = args;
  // One dtype for the three: f32 holds bf16.
  if (args.q.dtype() != args.k.dtype() || args.q.dtype() != args.v.dtype()) {
    plain.q = as_type(ctx.workspace, args.q, DType::kF32);
    plain.k = as_type(ctx.workspace, args.k, DType::kF32);
    plain.v = as_type(ctx.workspace, args.v, DType::kF32);
  }
  launch_plain_attention(stream, plain);
}

}  // namespace wan::cuda
