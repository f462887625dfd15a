#include "models/video_vae/upsample_conv.h"

#include <algorithm>

#include "ops/fill_zero.h"
#include "ops/upsample.h"

namespace wan {

namespace {

constexpr std::int64_t kBandValues = std::int64_t{8} << 20;

TensorView rows_of(const TensorView& frame, std::int64_t begin, std::int64_t end) {
  return frame.slice(1, begin, end);
}

}  // namespace

std::int64_t upsample_conv_rows(const Shape& x) {
  const std::int64_t row_values = 2 * 2 * x[2] * x[3];
  const std::int64_t most = std::clamp<std::int64_t>(kBandValues / row_values, 1, x[1]);
  const std::int64_t bands = (x[1] + most - 1) / most;
  return (x[1] + bands - 1) / bands;
}

void upsample_conv(ExecContext& ctx, const CausalConv3d& conv, const UpsampleConvArgs& args) {
  const Workspace::Scope scope(ctx.workspace);
  const std::int64_t height = args.x.dim(1);
  const TensorView band =
      ctx.workspace.take(args.x.dtype(), {1, 2 * (args.rows + 2), 2 * args.x.dim(2), args.x.dim(3)});
  for (std::int64_t t = 0; t < args.x.dim(0); ++t) {
    const TensorView frame = args.x.slice(0, t, t + 1);
    const TensorView out = args.out.slice(0, t, t + 1);
    for (std::int64_t first = 0; first < height; first += args.rows) {
      // The band begins one row of x earlier; the convolution sees one upsampled row above and one below its own.
      const std::int64_t last = std::min(first + args.rows, height);
      const std::int64_t begin = std::max<std::int64_t>(first - 1, 0);
      const std::int64_t end = std::min(last + 1, height);
      const std::int64_t seen_end = 2 * (last - first + 1) + 1;
      upsample_nearest_2x(ctx, {.x = rows_of(frame, begin, end),
                                .out = rows_of(band, 2 * (begin - first + 1), 2 * (end - first + 1))});
      if (begin == first) fill_zero(ctx, rows_of(band, 1, 2));
      if (end == last) fill_zero(ctx, rows_of(band, seen_end - 1, seen_end));
      conv.forward(
          ctx, rows_of(band, 1, seen_end), rows_of(out, 2 * first, 2 * last),
          args.residual ? rows_of(args.residual.slice(0, t, t + 1), 2 * first, 2 * last) : args.residual);
    }
  }
}

}  // namespace wan
