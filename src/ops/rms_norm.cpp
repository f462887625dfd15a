#include "ops/rms_norm.h"

#include <cmath>

#include "ops/dispatch.h"

namespace wan {

GatedResidualArgs residual_of(const RmsNormArgs& args) {
  return {.x = args.x, .y = args.branch, .gate = {}, .segments = {}};
}

void validate(const RmsNormArgs& args) {
  constexpr const char* kOp = "rms_norm";
  check_rank(kOp, "x", args.x, 2);
  check_shape(kOp, "weight", args.weight, {args.x.dim(1)});
  check_shape(kOp, "out", args.out, args.x.shape());
  for (const TensorView& view : {args.x, args.weight, args.out}) {
    check_activation_dtype(kOp, "an argument", view);
    check_inner_contiguous(kOp, "an argument", view);
  }
  if (!args.branch) return;
  validate(residual_of(args));
  WAN_CHECK(args.out.data() != args.x.data(), kInternal, "[{}] x stays apart where it gets a branch", kOp);
}

void reference(const RmsNormArgs& args) {
  if (args.branch) reference(residual_of(args));
  const std::int64_t width = args.x.dim(1);
  for (std::int64_t r = 0; r < args.x.dim(0); ++r) {
    double squares = 0.0;
    for (std::int64_t c = 0; c < width; ++c) squares += std::pow(load_element(args.x, {r, c}), 2);
    const double factor =
        1.0 / std::sqrt(squares / static_cast<double>(width) + static_cast<double>(args.eps));
    for (std::int64_t c = 0; c < width; ++c)
      store_element(args.out, {r, c}, load_element(args.x, {r, c}) * factor * load_element(args.weight, {c}));
  }
}

void rms_norm(ExecContext& ctx, const RmsNormArgs& args) {
  validate(args);
  dispatch(ctx, "rms_norm", args);
}

}  // namespace wan
