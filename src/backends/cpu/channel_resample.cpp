#include "ops/channel_resample.h"

#include <array>

#include "backends/cpu/backend_impl.h"
#include "backends/cpu/parallel_for.h"

namespace wan {

namespace {

constexpr std::int64_t kLargestCell = 64;  // 2 x 2 x 2 is the largest of a published model

/// Where a cell's pixels lie: index p = (a space + b) space + d of frame, row, column.
struct Cells {
  std::int64_t width, channels;  // of the finer video
  std::int64_t height;
  ResampleFactors factors;

  Cells(const TensorView& fine, const ResampleFactors& by)
      : width(fine.dim(2)), channels(fine.dim(3)), height(fine.dim(1)), factors(by) {}

  /// Offset of the first channel of pixel p of the cell whose first frame is `frame`; negative before the video.
  std::int64_t offset(std::int64_t frame, std::int64_t y, std::int64_t x, std::int64_t p) const {
    const std::int64_t f = frame + p / (factors.space * factors.space);
    const std::int64_t row = y * factors.space + p / factors.space % factors.space;
    const std::int64_t column = x * factors.space + p % factors.space;
    return ((f * height + row) * width + column) * channels;
  }
};

}  // namespace

bool has_kernel(const CpuBackend&, const AverageDownArgs& args) {
  return args.in.dtype() == DType::kF32 && args.out.dtype() == DType::kF32 &&
         args.factors.cell() <= kLargestCell;
}

void run_kernel(CpuBackend& cpu, ExecContext&, const AverageDownArgs& args) {
  const Cells cells(args.in, args.factors);
  const std::int64_t cell = args.factors.cell();
  const std::int64_t height = args.out.dim(1);
  const std::int64_t width = args.out.dim(2);
  const std::int64_t channels = args.out.dim(3);
  const std::int64_t group = cells.channels * cell / channels;
  const std::int64_t pad = args.out.dim(0) * args.factors.time - args.in.dim(0);
  const float factor = 1.0f / static_cast<float>(group);
  for_each_row(cpu.threads(), args.out.dim(0) * height, width * cells.channels * cell, [&](std::int64_t r) {
    std::array<const float*, kLargestCell> pixels{};
    for (std::int64_t x = 0; x < width; ++x) {
      for (std::int64_t p = 0; p < cell; ++p) {
        const std::int64_t offset = cells.offset(r / height * args.factors.time - pad, r % height, x, p);
        pixels[static_cast<std::size_t>(p)] = offset < 0 ? nullptr : args.in.as<float>() + offset;
      }
      float* const out = args.out.as<float>() + (r * width + x) * channels;
      std::int64_t c = 0;
      std::int64_t p = 0;
      for (std::int64_t o = 0; o < channels; ++o) {
        float sum = 0.0f;
        for (std::int64_t i = 0; i < group; ++i) {
          const float* const pixel = pixels[static_cast<std::size_t>(p)];
          if (pixel != nullptr) sum += pixel[c];
          if (++p == cell) {
            p = 0;
            ++c;
          }
        }
        out[o] = sum * factor;
      }
    }
  });
}

bool has_kernel(const CpuBackend&, const DuplicateUpArgs& args) {
  return args.in.dtype() == DType::kF32;
}

void run_kernel(CpuBackend& cpu, ExecContext& ctx, const DuplicateUpArgs& args) {
  const Cells cells(args.out, args.factors);
  const std::int64_t cell = args.factors.cell();
  const std::int64_t height = args.in.dim(1);
  const std::int64_t width = args.in.dim(2);
  const std::int64_t channels = args.in.dim(3);
  const std::int64_t repeats = cells.channels * cell / channels;
  const std::int64_t skip = args.in.dim(0) * args.factors.time - args.out.dim(0);
  // The input channel of each pixel's output channels: a table, so that the loop below divides nothing.
  const Workspace::Scope scope(ctx.workspace);
  const TensorView table = ctx.workspace.take(DType::kI32, {cell, cells.channels});
  auto* const sources = table.as<std::int32_t>();
  for (std::int64_t p = 0; p < cell; ++p)
    for (std::int64_t o = 0; o < cells.channels; ++o)
      sources[p * cells.channels + o] = static_cast<std::int32_t>((o * cell + p) / repeats);
  for_each_row(cpu.threads(), args.in.dim(0) * height, width * cells.channels * cell, [&](std::int64_t r) {
    for (std::int64_t x = 0; x < width; ++x) {
      const float* const in = args.in.as<float>() + (r * width + x) * channels;
      for (std::int64_t p = 0; p < cell; ++p) {
        const std::int64_t offset = cells.offset(r / height * args.factors.time - skip, r % height, x, p);
        if (offset < 0) continue;
        float* const out = args.out.as<float>() + offset;
        const std::int32_t* const source = sources + p * cells.channels;
        for (std::int64_t o = 0; o < cells.channels; ++o) out[o] = in[source[o]];
      }
    }
  });
}

}  // namespace wan
