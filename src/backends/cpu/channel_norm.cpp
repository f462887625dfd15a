#include "ops/channel_norm.h"

#include "backends/cpu/backend_impl.h"
#include "backends/cpu/conversion.h"
#include "backends/cpu/parallel_for.h"
#include "backends/cpu/row_scratch.h"

namespace wan {

bool has_kernel(const CpuBackend&, const ChannelNormArgs& args) {
  return args.activation != ActivationKind::kGeluTanh;  // no layer uses it
}

void run_kernel(CpuBackend& cpu, ExecContext& ctx, const ChannelNormArgs& args) {
  const std::int64_t rows = args.x.dim(0);
  const std::int64_t width = args.x.dim(1);
  const auto kernel =
      args.activation == ActivationKind::kSiLU ? cpu.kernels().channel_norm_silu : cpu.kernels().channel_norm;
  const float* gamma = args.gamma.as<float>();
  if (args.x.dtype() == DType::kF32 && args.out.dtype() == DType::kF32) {
    parallel_for(
        useful_threads(cpu.threads(), rows * width), rows, 1, [&](std::int64_t begin, std::int64_t end) {
          kernel(args.x.as<float>() + begin * args.x.stride(0), args.x.stride(0), gamma,
                 args.out.as<float>() + begin * args.out.stride(0), args.out.stride(0), end - begin, width);
        });
    return;
  }
  const Workspace::Scope scope(ctx.workspace);
  const RowScratch scratch(ctx.workspace, cpu.threads(), width);
  for_each_row(cpu.threads(), rows, width, [&](std::int64_t r) {
    const float* x = row_as_f32(cpu.kernels(), args.x, r * args.x.stride(0), width, scratch.buffer(0));
    write_row(cpu.kernels(), args.out, r * args.out.stride(0), width, scratch.buffer(1),
              [&](float* out) { kernel(x, width, gamma, out, width, 1, width); });
  });
}

}  // namespace wan
