#include "ops/channel_norm.h"

#include <algorithm>
#include <cmath>

#include "ops/dispatch.h"

namespace wan {

void validate(const ChannelNormArgs& args) {
  constexpr const char* kOp = "channel_norm";
  check_rank(kOp, "x", args.x, !args.x.empty() && args.x.rank() == 3 ? 3 : 2);
  check_shape(kOp, "gamma", args.gamma, {args.x.dim(-1)});
  check_shape(kOp, "out", args.out, args.x.shape());
  for (const TensorView& view : {args.x, args.out}) {
    check_activation_dtype(kOp, "an argument", view);
    check_inner_contiguous(kOp, "an argument", view);
  }
  WAN_CHECK(args.gamma.dtype() == DType::kF32, kInternal, "[{}] gamma must be f32", kOp);
}

void reference(const ChannelNormArgs& args) {
  if (args.x.rank() == 3) {
    for (std::int64_t m = 0; m < args.x.dim(0); ++m)
      reference(ChannelNormArgs{args.x.select(0, m), args.gamma, args.activation, args.out.select(0, m)});
    return;
  }
  const std::int64_t channels = args.x.dim(1);
  for (std::int64_t n = 0; n < args.x.dim(0); ++n) {
    double squares = 0.0;
    for (std::int64_t c = 0; c < channels; ++c) squares += std::pow(load_element(args.x, {n, c}), 2);
    const double factor = std::sqrt(static_cast<double>(channels)) / std::max(std::sqrt(squares), 1e-12);
    for (std::int64_t c = 0; c < channels; ++c) {
      const double value = load_element(args.x, {n, c}) * factor * load_element(args.gamma, {c});
      store_element(args.out, {n, c}, apply_activation(args.activation, value));
    }
  }
}

void channel_norm(ExecContext& ctx, const ChannelNormArgs& args) {
  validate(args);
  dispatch(ctx, "channel_norm", args);
}

}  // namespace wan
