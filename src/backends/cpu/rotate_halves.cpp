#include "ops/rotate_halves.h"

#include "backends/cpu/backend_impl.h"
#include "backends/cpu/conversion.h"
#include "backends/cpu/parallel_for.h"
#include "backends/cpu/row_scratch.h"

namespace wan {

namespace {

void rotate(const float* x, const float* table, float* out, std::int64_t half) {
  for (std::int64_t i = 0; i < half; ++i) {
    const float first = x[i];
    const float second = x[i + half];
    out[i] = first * table[2 * i] - second * table[2 * i + 1];
    out[i + half] = second * table[2 * i] + first * table[2 * i + 1];
  }
}

}  // namespace

bool has_kernel(const CpuBackend&, const RotateHalvesArgs&) {
  return true;
}

void run_kernel(CpuBackend& cpu, ExecContext& ctx, const RotateHalvesArgs& args) {
  if (args.also) run_kernel(cpu, ctx, rotation_of_also(args));
  const std::int64_t heads = args.x.dim(1);
  const std::int64_t width = args.x.dim(2);
  const Workspace::Scope scope(ctx.workspace);
  const bool converts = args.x.dtype() != DType::kF32 || args.out.dtype() != DType::kF32;
  const RowScratch scratch(ctx.workspace, converts ? cpu.threads() : 0, width);
  for_each_row(cpu.threads(), args.x.dim(0) * heads, width, [&](std::int64_t row) {
    const std::int64_t r = row / heads;
    const std::int64_t h = row % heads;
    const float* x = row_as_f32(cpu.kernels(), args.x, r * args.x.stride(0) + h * args.x.stride(1), width,
                                scratch.buffer(0));
    write_row(cpu.kernels(), args.out, r * args.out.stride(0) + h * args.out.stride(1), width,
              scratch.buffer(1),
              [&](float* out) { rotate(x, args.table.as<float>() + r * width, out, width / 2); });
  });
}

}  // namespace wan
