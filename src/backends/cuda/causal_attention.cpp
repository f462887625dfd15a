#include "ops/causal_attention.h"

#include "backends/cuda/backend_impl.h"
#include "backends/cuda/kernels/language.h"
#include "ops/rotate_halves.h"

namespace wan {

using namespace cuda;

bool CudaBackend::supports_op(const CausalAttentionArgs& args) const {
  constexpr std::int64_t kMostBlocks = 65535;  // of a grid's second dimension
  return args.q.dim(2) <= kWidestCausalHead && args.q.dim(1) <= kMostBlocks;
}

void run_kernel(CudaBackend& gpu, ExecContext& ctx, const CausalAttentionArgs& args) {
  if (args.out.elements() == 0) return;
  const Workspace::Scope scope(ctx.workspace);
  launch_causal_attention(gpu.stream(), args, CausalScratch(ctx.workspace, args));
}

void run_kernel(CudaBackend& gpu, ExecContext&, const RotateHalvesArgs& args) {
  launch_rotate_halves(gpu.stream(), args);
}

}  // namespace wan
