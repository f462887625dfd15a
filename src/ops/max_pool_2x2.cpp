#include "ops/max_pool_2x2.h"

#include <cmath>

#include "ops/dispatch.h"

namespace wan {

void validate(const MaxPool2x2Args& args) {
  constexpr const char* kOp = "max_pool_2x2";
  check_rank(kOp, "out", args.out, 4);
  check_shape(kOp, "x", args.x, {args.out.dim(0), 2 * args.out.dim(1), 2 * args.out.dim(2), args.out.dim(3)});
  check_activation_dtype(kOp, "x", args.x);
  WAN_CHECK(args.x.dtype() == args.out.dtype() && args.x.is_contiguous() && args.out.is_contiguous(),
            kInternal, "[{}] x and out must be contiguous and of one dtype", kOp);
}

void reference(const MaxPool2x2Args& args) {
  const Shape& shape = args.out.shape();
  for (std::int64_t t = 0; t < shape[0]; ++t)
    for (std::int64_t y = 0; y < shape[1]; ++y)
      for (std::int64_t x = 0; x < shape[2]; ++x)
        for (std::int64_t c = 0; c < shape[3]; ++c) {
          double most = load_element(args.x, {t, 2 * y, 2 * x, c});
          for (int i = 1; i < 4; ++i) {
            const double value = load_element(args.x, {t, 2 * y + i / 2, 2 * x + i % 2, c});
            if (value > most || std::isnan(value)) most = value;
          }
          store_element(args.out, {t, y, x, c}, most);
        }
}

void max_pool_2x2(ExecContext& ctx, const MaxPool2x2Args& args) {
  validate(args);
  dispatch(ctx, "max_pool_2x2", args);
}

}  // namespace wan
