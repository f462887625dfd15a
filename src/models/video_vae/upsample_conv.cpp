#include "models/video_vae/upsample_conv.h"

#include <algorithm>

#include "ops/copy.h"
#include "ops/fill_zero.h"
#include "ops/upsample.h"

namespace wan {

namespace {

constexpr std::int64_t kBandValues = std::int64_t{8} << 20;

TensorView rows_of(const TensorView& frame, std::int64_t begin, std::int64_t end) {
  return frame.slice(1, begin, end);
}

/// The pixels next to frames [T, H, W, C]: the neighbours' where ranks divide that side, otherwise zeros.
class Outside {
 public:
  enum End { kBefore, kAfter };

  /// Takes memory that lives as long as the caller's Scope.
  Outside(ExecContext& ctx, const Strip& strip, const TensorView& x)
      : divided_(strip.divided()), columns_(divided_ && !strip.divides_rows()), height_(x.dim(1)) {
    if (!divided_) return;
    const EdgeLines own = edges_of(strip, x);
    lines_ = {ctx.workspace.take(x.dtype(), own.first.shape()),
              ctx.workspace.take(x.dtype(), own.last.shape())};
    exchange_edges(ctx, strip, own, lines_);
  }

  /// Whether there are columns beside the frames.
  bool columns() const { return columns_; }

  /// Writes the row before or after frame t, upsampled, to `out` [1, 2, 2W (+ 2), C].
  void upsample_row(ExecContext& ctx, std::int64_t t, End end, const TensorView& out) const {
    if (columns_ || !divided_) return fill_zero(ctx, out);
    const TensorView& lines = end == kBefore ? lines_.first : lines_.last;  // [T, W C]
    const Shape row{1, 1, out.dim(2) / 2, out.dim(3)};
    upsample_nearest_2x(ctx, {.x = lines.slice(0, t, t + 1).reshape(row), .out = out});
  }

  /// Writes rows [begin, end) of the columns beside frame t, upsampled, to the first and last column of `band`
  /// [1, 2 (end - begin), 2W + 2, C].
  void copy_columns(ExecContext& ctx, std::int64_t t, std::int64_t begin, std::int64_t end,
                    const TensorView& band) const {
    const Shape shape{end - begin, 2, band.dim(3)};
    const auto write = [&](const TensorView& lines, std::int64_t column) {  // [T H, C]
      const TensorView from = lines.slice(0, t * height_ + begin, t * height_ + end);
      const TensorView to = band.slice(2, column, column + 1);
      copy(ctx, {.from = {from.data(), from.dtype(), shape, {from.stride(0), 0, 1}, from.device()},
                 .out = {to.data(), to.dtype(), shape, {2 * to.stride(1), to.stride(1), 1}, to.device()}});
    };
    write(lines_.first, 0);
    write(lines_.last, band.dim(2) - 1);
  }

 private:
  bool divided_;
  bool columns_;
  std::int64_t height_;
  EdgeLines lines_;
};

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
  const Outside outside(ctx, args.strip, args.x);
  const SpatialPadding halo = outside.columns() ? args.strip.halo() : SpatialPadding();
  const TensorView band = ctx.workspace.take(
      args.x.dtype(), with_halo({1, 2 * (args.rows + 2), 2 * args.x.dim(2), args.x.dim(3)}, halo));
  for (std::int64_t t = 0; t < args.x.dim(0); ++t) {
    const TensorView frame = args.x.slice(0, t, t + 1);
    const TensorView out = args.out.slice(0, t, t + 1);
    for (std::int64_t first = 0; first < height; first += args.rows) {
      // The band begins one row of x earlier; the convolution sees one upsampled row above and one below its own.
      const std::int64_t last = std::min(first + args.rows, height);
      const std::int64_t begin = std::max<std::int64_t>(first - 1, 0);
      const std::int64_t end = std::min(last + 1, height);
      const auto of_rows = [&](std::int64_t from, std::int64_t to) {  // of x
        return rows_of(band, 2 * (from - first + 1), 2 * (to - first + 1));
      };
      const TensorView upsampled = of_rows(begin, end);
      upsample_nearest_2x(ctx, {.x = rows_of(frame, begin, end), .out = inside_halo(upsampled, halo)});
      if (outside.columns()) outside.copy_columns(ctx, t, begin, end, upsampled);
      if (begin == first) outside.upsample_row(ctx, t, Outside::kBefore, of_rows(first - 1, first));
      if (end == last) outside.upsample_row(ctx, t, Outside::kAfter, of_rows(last, last + 1));
      const FrameWindow seen{rows_of(band, 1, 2 * (last - first + 1) + 1), 0, halo};
      conv.forward(
          ctx, seen, rows_of(out, 2 * first, 2 * last),
          args.residual ? rows_of(args.residual.slice(0, t, t + 1), 2 * first, 2 * last) : args.residual);
    }
  }
}

}  // namespace wan
