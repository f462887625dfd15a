#include "ops/depthwise_conv.h"

#include <algorithm>

#include "backends/cpu/backend_impl.h"
#include "backends/cpu/parallel_for.h"

namespace wan {

bool has_kernel(const CpuBackend&, const DepthwiseConvArgs&) {
  return true;
}

/// A row of the result at a time, each tap added to all channels of a pixel at once.
void run_kernel(CpuBackend& cpu, ExecContext&, const DepthwiseConvArgs& args) {
  if (args.out.elements() == 0) return;
  const std::int64_t height = args.x.dim(1);
  const std::int64_t width = args.x.dim(2);
  const std::int64_t channels = args.x.dim(3);
  const std::int64_t rows = args.out.dim(1);
  const std::int64_t columns = args.out.dim(2);
  const std::int64_t taps_down = args.weight.dim(0);
  const std::int64_t taps_across = args.weight.dim(1);
  const float* x = args.x.as<float>();
  const float* weight = args.weight.as<float>();
  const float* bias = args.bias ? args.bias.as<float>() : nullptr;
  float* out = args.out.as<float>();
  const auto row_of_result = [&](std::int64_t row) {
    const float* picture = x + row / rows * height * width * channels;
    for (std::int64_t column = 0; column < columns; ++column) {
      float* pixel = out + (row * columns + column) * channels;
      if (bias != nullptr)
        std::copy_n(bias, channels, pixel);
      else
        std::fill_n(pixel, channels, 0.0f);
      for (std::int64_t b = 0; b < taps_down; ++b) {
        const std::int64_t in_y = args.stride[0] * (row % rows) + args.dilation[0] * b - args.padding.top;
        if (in_y < 0 || in_y >= height) continue;
        for (std::int64_t a = 0; a < taps_across; ++a) {
          const std::int64_t in_x = args.stride[1] * column + args.dilation[1] * a - args.padding.left;
          if (in_x < 0 || in_x >= width) continue;
          const float* from = picture + (in_y * width + in_x) * channels;
          const float* factors = weight + (b * taps_across + a) * channels;
          for (std::int64_t c = 0; c < channels; ++c) pixel[c] += from[c] * factors[c];
        }
      }
    }
  };
  for_each_row(cpu.threads(), args.out.dim(0) * rows, columns * channels * taps_down * taps_across,
               row_of_result);
}

}  // namespace wan
