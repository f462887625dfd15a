#include "ops/upsample.h"

#include "ops/dispatch.h"

namespace wan {

void validate(const UpsampleArgs& args) {
  constexpr const char* kOp = "upsample_nearest_2x";
  check_rank(kOp, "x", args.x, 4);
  check_shape(kOp, "out", args.out, {args.x.dim(0), 2 * args.x.dim(1), 2 * args.x.dim(2), args.x.dim(3)});
  check_activation_dtype(kOp, "x", args.x);
  const bool rows = args.out.stride(3) == 1 && args.out.stride(2) == args.out.dim(3);
  WAN_CHECK(args.x.dtype() == args.out.dtype() && args.x.is_contiguous() && rows, kInternal,
            "[{}] x and the rows of out must be contiguous and of one dtype", kOp);
}

void reference(const UpsampleArgs& args) {
  for (std::int64_t t = 0; t < args.out.dim(0); ++t)
    for (std::int64_t y = 0; y < args.out.dim(1); ++y)
      for (std::int64_t x = 0; x < args.out.dim(2); ++x)
        for (std::int64_t c = 0; c < args.out.dim(3); ++c)
          store_element(args.out, {t, y, x, c}, load_element(args.x, {t, y / 2, x / 2, c}));
}

void upsample_nearest_2x(ExecContext& ctx, const UpsampleArgs& args) {
  validate(args);
  dispatch(ctx, "upsample_nearest_2x", args);
}

}  // namespace wan
