#include "ops/gated_residual.h"

#include "ops/dispatch.h"

namespace wan {

void validate(const GatedResidualArgs& args) {
  constexpr const char* kOp = "gated_residual";
  check_rank(kOp, "x", args.x, 2);
  check_shape(kOp, "y", args.y, args.x.shape());
  check_activation_dtype(kOp, "x", args.x);
  check_activation_dtype(kOp, "y", args.y);
  WAN_CHECK(args.x.is_contiguous() && args.y.is_contiguous(), kInternal, "[{}] x and y must be contiguous",
            kOp);
  if (!args.gate) return;
  check_shape(kOp, "gate", args.gate, {args.segments.count(), args.x.dim(1)});
  check_inner_contiguous(kOp, "gate", args.gate);
  WAN_CHECK(args.gate.dtype() == DType::kF32, kInternal, "[{}] gate must be f32", kOp);
  check_segments(kOp, args.segments, args.x.dim(0));
}

void reference(const GatedResidualArgs& args) {
  std::int64_t segment = 0;
  for (std::int64_t r = 0; r < args.x.dim(0); ++r) {
    while (args.gate && r >= args.segments.ends[static_cast<std::size_t>(segment)]) ++segment;
    for (std::int64_t c = 0; c < args.x.dim(1); ++c) {
      const double gate = args.gate ? load_element(args.gate, {segment, c}) : 1.0;
      store_element(args.x, {r, c}, load_element(args.x, {r, c}) + load_element(args.y, {r, c}) * gate);
    }
  }
}

void gated_residual(ExecContext& ctx, const GatedResidualArgs& args) {
  validate(args);
  dispatch(ctx, "gated_residual", args);
}

}  // namespace wan
