#include "ops/layer_norm.h"

#include "backends/cpu/backend_impl.h"
#include "backends/cpu/conversion.h"
#include "backends/cpu/parallel_for.h"
#include "backends/cpu/row_scratch.h"

namespace wan {

bool has_kernel(const CpuBackend&, const LayerNormArgs&) {
  return true;
}

void run_kernel(CpuBackend& cpu, ExecContext& ctx, const LayerNormArgs& args) {
  const std::int64_t rows = args.x.dim(0);
  const std::int64_t width = args.x.dim(1);
  const Workspace::Scope scope(ctx.workspace);
  const RowScratch scratch(ctx.workspace, args.out.dtype() == DType::kF32 ? 0 : cpu.threads(), width);
  for_each_row(cpu.threads(), rows, width, [&](std::int64_t r) {
    const float* scale = nullptr;
    const float* shift = nullptr;
    float offset = 0.0f;
    if (args.weight) {
      scale = args.weight.as<float>();
      shift = args.bias.as<float>();
    } else if (args.scale) {
      const std::int64_t segment = segment_of(args.segments, r);
      scale = args.scale.as<float>() + segment * args.scale.stride(0);
      shift = args.shift.as<float>() + segment * args.shift.stride(0);
      offset = 1.0f;
    }
    write_row(cpu.kernels(), args.out, r * width, width, scratch.buffer(0), [&](float* out) {
      cpu.kernels().layer_norm(args.x.as<float>() + r * width, scale, offset, shift, args.eps, out, width);
    });
  });
}

}  // namespace wan
