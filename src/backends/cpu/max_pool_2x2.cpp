#include "ops/max_pool_2x2.h"

#include "backends/cpu/backend_impl.h"
#include "backends/cpu/conversion.h"
#include "backends/cpu/parallel_for.h"

namespace wan {

namespace {

/// The larger of two values, NaN where one of them is.
float larger_value(float a, float b) {
  return a > b || a != a ? a : b;
}

}  // namespace

bool has_kernel(const CpuBackend&, const MaxPool2x2Args&) {
  return true;
}

void run_kernel(CpuBackend& cpu, ExecContext&, const MaxPool2x2Args& args) {
  const std::int64_t width = args.out.dim(2), channels = args.out.dim(3), row = 2 * width * channels;
  for_each_row(cpu.threads(), args.out.dim(0) * args.out.dim(1), 2 * row, [&](std::int64_t line) {
    float buffers[4][kChunk];
    float result[kChunk];
    for (std::int64_t x = 0; x < width; ++x)
      for (std::int64_t c = 0; c < channels; c += kChunk) {
        const std::int64_t n = std::min(kChunk, channels - c);
        const auto pixel = [&](int y, int side) {
          const std::int64_t offset = (2 * line + y) * row + (2 * x + side) * channels + c;
          return row_as_f32(cpu.kernels(), args.x, offset, n, buffers[2 * y + side]);
        };
        const float* const a = pixel(0, 0);
        const float* const b = pixel(0, 1);
        const float* const d = pixel(1, 0);
        const float* const e = pixel(1, 1);
        write_row(cpu.kernels(), args.out, (line * width + x) * channels + c, n, result, [&](float* out) {
          for (std::int64_t i = 0; i < n; ++i)
            out[i] = larger_value(larger_value(a[i], b[i]), larger_value(d[i], e[i]));
        });
      }
  });
}

}  // namespace wan
