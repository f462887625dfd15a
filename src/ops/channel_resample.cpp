#include "ops/channel_resample.h"

#include "ops/dispatch.h"

namespace wan {

namespace {

void check_arguments(const char* op, const TensorView& coarse, const TensorView& fine,
                     const ResampleFactors& factors) {
  check_rank(op, "in and out", coarse, 4);
  check_rank(op, "in and out", fine, 4);
  WAN_CHECK(factors.time >= 1 && factors.space >= 1, kInternal, "[{}] factors must be positive", op);
  const std::int64_t frames = (fine.dim(0) + factors.time - 1) / factors.time;
  WAN_CHECK(coarse.dim(0) == frames && coarse.dim(1) * factors.space == fine.dim(1) &&
                coarse.dim(2) * factors.space == fine.dim(2),
            kInternal, "[{}] {} is not {} by factors of {} and {}", op, coarse.shape().to_string(),
            fine.shape().to_string(), factors.time, factors.space);
  WAN_CHECK(coarse.dim(3) >= 1 && fine.dim(3) * factors.cell() % coarse.dim(3) == 0, kInternal,
            "[{}] {} channels of a cell of {} do not divide into {}", op, fine.dim(3), factors.cell(),
            coarse.dim(3));
  for (const TensorView& view : {coarse, fine}) {
    check_activation_dtype(op, "an argument", view);
    WAN_CHECK(view.is_contiguous(), kInternal, "[{}] in and out must be contiguous", op);
  }
}

/// Position k of a cell's values.
struct CellPlace {
  std::int64_t channel, frame, row, column;

  CellPlace(std::int64_t k, const ResampleFactors& factors)
      : channel(k / factors.cell()),
        frame(k / factors.space / factors.space % factors.time),
        row(k / factors.space % factors.space),
        column(k % factors.space) {}
};

}  // namespace

void validate(const AverageDownArgs& args) {
  check_arguments("average_down", args.out, args.in, args.factors);
}

void reference(const AverageDownArgs& args) {
  const ResampleFactors& factors = args.factors;
  const std::int64_t group = args.in.dim(3) * factors.cell() / args.out.dim(3);
  const std::int64_t pad = args.out.dim(0) * factors.time - args.in.dim(0);
  for (std::int64_t t = 0; t < args.out.dim(0); ++t) {
    for (std::int64_t y = 0; y < args.out.dim(1); ++y) {
      for (std::int64_t x = 0; x < args.out.dim(2); ++x) {
        for (std::int64_t o = 0; o < args.out.dim(3); ++o) {
          double sum = 0.0;
          for (std::int64_t k = o * group; k < (o + 1) * group; ++k) {
            const CellPlace place(k, factors);
            const std::int64_t frame = t * factors.time + place.frame - pad;
            if (frame < 0) continue;
            sum += load_element(args.in, {frame, y * factors.space + place.row,
                                          x * factors.space + place.column, place.channel});
          }
          store_element(args.out, {t, y, x, o}, sum / static_cast<double>(group));
        }
      }
    }
  }
}

void average_down(ExecContext& ctx, const AverageDownArgs& args) {
  validate(args);
  dispatch(ctx, "average_down", args);
}

void validate(const DuplicateUpArgs& args) {
  check_arguments("duplicate_up", args.in, args.out, args.factors);
  WAN_CHECK(args.in.dtype() == args.out.dtype(), kInternal, "[duplicate_up] in and out must be of one dtype");
}

void reference(const DuplicateUpArgs& args) {
  const ResampleFactors& factors = args.factors;
  const std::int64_t values = args.out.dim(3) * factors.cell();
  const std::int64_t repeats = values / args.in.dim(3);
  const std::int64_t skip = args.in.dim(0) * factors.time - args.out.dim(0);
  for (std::int64_t t = 0; t < args.in.dim(0); ++t) {
    for (std::int64_t y = 0; y < args.in.dim(1); ++y) {
      for (std::int64_t x = 0; x < args.in.dim(2); ++x) {
        for (std::int64_t k = 0; k < values; ++k) {
          const CellPlace place(k, factors);
          const std::int64_t frame = t * factors.time + place.frame - skip;
          if (frame < 0) continue;
          store_element(
              args.out,
              {frame, y * factors.space + place.row, x * factors.space + place.column, place.channel},
              load_element(args.in, {t, y, x, k / repeats}));
        }
      }
    }
  }
}

void duplicate_up(ExecContext& ctx, const DuplicateUpArgs& args) {
  validate(args);
  dispatch(ctx, "duplicate_up", args);
}

}  // namespace wan
