#include "ops/join_attention.h"

#include <algorithm>
#include <cmath>

#include "backends/cpu/backend_impl.h"
#include "backends/cpu/conversion.h"
#include "backends/cpu/parallel_for.h"
#include "backends/cpu/row_scratch.h"

namespace wan {

bool has_kernel(const CpuBackend&, const JoinAttentionArgs&) {
  return true;
}

void run_kernel(CpuBackend& cpu, ExecContext& ctx, const JoinAttentionArgs& args) {
  const std::int64_t rows = args.out.dim(0);
  const std::int64_t heads = args.out.dim(1);
  const std::int64_t width = args.out.dim(2);
  const Workspace::Scope scope(ctx.workspace);
  const RowScratch scratch(ctx.workspace, args.part.dtype() != DType::kF32 ? cpu.threads() : 0, width);
  for_each_row(cpu.threads(), rows * heads, width, [&](std::int64_t row) {
    const std::int64_t at = row % heads * rows + row / heads;
    float& sum = args.log_sums.as<float>()[at];
    const float added = args.part_log_sums.as<float>()[at];
    const float highest = std::max(sum, added);
    const float both = highest + std::log(std::exp(sum - highest) + std::exp(added - highest));
    const float shares[] = {std::exp(sum - both), std::exp(added - both)};
    float* out = args.out.as<float>() + row * width;
    const float* const terms[] = {
        out, row_as_f32(cpu.kernels(), args.part, row * width, width, scratch.buffer(0))};
    cpu.kernels().combine(terms, shares, 2, out, width);
    sum = both;
  });
}

}  // namespace wan
