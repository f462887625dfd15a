#include "ops/rms_norm.h"

#include "backends/cpu/backend_impl.h"
#include "backends/cpu/conversion.h"
#include "backends/cpu/parallel_for.h"
#include "backends/cpu/row_scratch.h"

namespace wan {

bool has_kernel(const CpuBackend&, const RmsNormArgs&) {
  return true;
}

void run_kernel(CpuBackend& cpu, ExecContext& ctx, const RmsNormArgs& args) {
  if (args.branch) run_kernel(cpu, ctx, residual_of(args));
  const std::int64_t rows = args.x.dim(0);
  const std::int64_t width = args.x.dim(1);
  const Workspace::Scope scope(ctx.workspace);
  const bool converts = args.x.dtype() != DType::kF32 || args.out.dtype() != DType::kF32;
  const RowScratch scratch(ctx.workspace, converts ? cpu.threads() : 0, width);
  const TensorView weight = as_f32(cpu.kernels(), cpu.threads(), ctx.workspace, args.weight);
  for_each_row(cpu.threads(), rows, width, [&](std::int64_t r) {
    const float* x = row_as_f32(cpu.kernels(), args.x, r * args.x.stride(0), width, scratch.buffer(0));
    write_row(cpu.kernels(), args.out, r * args.out.stride(0), width, scratch.buffer(1),
              [&](float* out) { cpu.kernels().rms_norm(x, weight.as<float>(), args.eps, out, width); });
  });
}

}  // namespace wan
