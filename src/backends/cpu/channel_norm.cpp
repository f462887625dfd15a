#include "ops/channel_norm.h"

#include <algorithm>

#include "backends/cpu/backend_impl.h"
#include "backends/cpu/conversion.h"
#include "backends/cpu/parallel_for.h"
#include "backends/cpu/row_scratch.h"

namespace wan {

bool has_kernel(const CpuBackend&, const ChannelNormArgs& args) {
  return args.activation == ActivationKind::kNone ||
         args.activation == ActivationKind::kSiLU;  // no layer has others
}

namespace {

/// The pixels of [N, C] or [M, N, C], counted through.
class PixelRows {
 public:
  explicit PixelRows(const TensorView& view)
      : run_(view.dim(-2)),
        run_stride_(view.rank() == 3 ? view.stride(0) : 0),
        stride_(view.stride(view.rank() - 2)) {}

  std::int64_t stride() const { return stride_; }
  /// Where row `row` begins, in elements.
  std::int64_t place(std::int64_t row) const { return row / run_ * run_stride_ + row % run_ * stride_; }
  /// The first row after `row` that does not follow at the stride.
  std::int64_t end_of_run(std::int64_t row) const { return (row / run_ + 1) * run_; }

 private:
  std::int64_t run_;
  std::int64_t run_stride_;
  std::int64_t stride_;
};

}  // namespace

void run_kernel(CpuBackend& cpu, ExecContext& ctx, const ChannelNormArgs& args) {
  if (args.x.elements() == 0) return;
  const std::int64_t width = args.x.dim(-1);
  const std::int64_t rows = args.x.elements() / width;
  const PixelRows from(args.x);
  const PixelRows to(args.out);
  const auto kernel =
      args.activation == ActivationKind::kSiLU ? cpu.kernels().channel_norm_silu : cpu.kernels().channel_norm;
  const float* gamma = args.gamma.as<float>();
  if (args.x.dtype() == DType::kF32 && args.out.dtype() == DType::kF32) {
    parallel_for(useful_threads(cpu.threads(), rows * width), rows, 1,
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t row = begin; row < end;) {
                     const std::int64_t next = std::min(end, from.end_of_run(row));
                     kernel(args.x.as<float>() + from.place(row), from.stride(), gamma,
                            args.out.as<float>() + to.place(row), to.stride(), next - row, width);
                     row = next;
                   }
                 });
    return;
  }
  const Workspace::Scope scope(ctx.workspace);
  const RowScratch scratch(ctx.workspace, cpu.threads(), width);
  for_each_row(cpu.threads(), rows, width, [&](std::int64_t r) {
    const float* x = row_as_f32(cpu.kernels(), args.x, from.place(r), width, scratch.buffer(0));
    write_row(cpu.kernels(), args.out, to.place(r), width, scratch.buffer(1),
              [&](float* out) { kernel(x, width, gamma, out, width, 1, width); });
  });
}

}  // namespace wan
