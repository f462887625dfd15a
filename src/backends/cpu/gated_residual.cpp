#include "ops/gated_residual.h"

#include "backends/cpu/backend_impl.h"
#include "backends/cpu/conversion.h"
#include "backends/cpu/parallel_for.h"
#include "backends/cpu/row_scratch.h"

namespace wan {

bool has_kernel(const CpuBackend&, const GatedResidualArgs&) {
  return true;
}

void run_kernel(CpuBackend& cpu, ExecContext& ctx, const GatedResidualArgs& args) {
  const std::int64_t rows = args.x.dim(0);
  const std::int64_t width = args.x.dim(1);
  const Workspace::Scope scope(ctx.workspace);
  const bool converts = args.x.dtype() != DType::kF32 || args.y.dtype() != DType::kF32;
  const RowScratch scratch(ctx.workspace, converts ? cpu.threads() : 0, width);
  for_each_row(cpu.threads(), rows, width, [&](std::int64_t r) {
    const float* y = row_as_f32(cpu.kernels(), args.y, r * width, width, scratch.buffer(0));
    write_row(cpu.kernels(), args.x, r * width, width, scratch.buffer(1), [&](float* x) {
      if (args.x.dtype() == DType::kBF16) cpu.kernels().bf16_to_f32(bf16_bits(args.x) + r * width, x, width);
      if (!args.gate) return cpu.kernels().add(x, y, width);
      const std::int64_t segment = segment_of(args.segments, r);
      cpu.kernels().add_gated(x, y, args.gate.as<float>() + segment * args.gate.stride(0), width);
    });
  });
}

}  // namespace wan
