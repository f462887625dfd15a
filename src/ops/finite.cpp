#include "ops/finite.h"

#include <cmath>

#include "ops/dispatch.h"

namespace wan {

void validate(const CountNonFiniteArgs& args) {
  constexpr const char* kOp = "count_non_finite";
  check_activation_dtype(kOp, "x", args.x);
  WAN_CHECK(args.x.is_contiguous() && args.count != nullptr, kInternal, "[{}] x must be contiguous", kOp);
}

void reference(const CountNonFiniteArgs& args) {
  const TensorView flat = args.x.reshape({args.x.elements()});
  *args.count = 0;
  for (std::int64_t i = 0; i < flat.dim(0); ++i)
    *args.count += std::isfinite(load_element(flat, {i})) ? 0 : 1;
}

std::int64_t count_non_finite(ExecContext& ctx, const TensorView& x) {
  std::int64_t count = 0;
  const CountNonFiniteArgs args{x, &count};
  validate(args);
  dispatch(ctx, "count_non_finite", args);
  return count;
}

}  // namespace wan
