#include "ops/layer_norm.h"

#include <cmath>

#include "ops/dispatch.h"

namespace wan {

namespace {

void check_parameter(const char* argument, const TensorView& view, const Shape& shape) {
  check_shape("layer_norm", argument, view, shape);
  check_inner_contiguous("layer_norm", argument, view);
  WAN_CHECK(view.dtype() == DType::kF32, kInternal, "[layer_norm] {} must be f32", argument);
}

}  // namespace

void validate(const LayerNormArgs& args) {
  constexpr const char* kOp = "layer_norm";
  check_rank(kOp, "x", args.x, 2);
  check_shape(kOp, "out", args.out, args.x.shape());
  check_activation_dtype(kOp, "out", args.out);
  WAN_CHECK(args.x.dtype() == DType::kF32 && args.x.is_contiguous() && args.out.is_contiguous(), kInternal,
            "[{}] x must be f32, x and out contiguous", kOp);
  WAN_CHECK(args.weight.empty() == args.bias.empty() && args.scale.empty() == args.shift.empty() &&
                (args.weight.empty() || args.scale.empty()),
            kInternal, "[{}] give weight and bias, or scale and shift, or neither", kOp);
  if (args.weight) {
    check_parameter("weight", args.weight, {args.x.dim(1)});
    check_parameter("bias", args.bias, {args.x.dim(1)});
  }
  if (args.scale) {
    check_parameter("scale", args.scale, {args.segments.count(), args.x.dim(1)});
    check_parameter("shift", args.shift, {args.segments.count(), args.x.dim(1)});
    check_segments(kOp, args.segments, args.x.dim(0));
  }
}

void reference(const LayerNormArgs& args) {
  const std::int64_t width = args.x.dim(1);
  std::int64_t segment = 0;
  for (std::int64_t r = 0; r < args.x.dim(0); ++r) {
    while (args.scale && r >= args.segments.ends[static_cast<std::size_t>(segment)]) ++segment;
    double mean = 0.0;
    for (std::int64_t c = 0; c < width; ++c) mean += load_element(args.x, {r, c});
    mean /= static_cast<double>(width);
    double variance = 0.0;
    for (std::int64_t c = 0; c < width; ++c) variance += std::pow(load_element(args.x, {r, c}) - mean, 2);
    variance /= static_cast<double>(width);
    const double factor = 1.0 / std::sqrt(variance + static_cast<double>(args.eps));
    for (std::int64_t c = 0; c < width; ++c) {
      double value = (load_element(args.x, {r, c}) - mean) * factor;
      if (args.weight) value = value * load_element(args.weight, {c}) + load_element(args.bias, {c});
      if (args.scale)
        value =
            value * (1.0 + load_element(args.scale, {segment, c})) + load_element(args.shift, {segment, c});
      store_element(args.out, {r, c}, value);
    }
  }
}

void layer_norm(ExecContext& ctx, const LayerNormArgs& args) {
  validate(args);
  dispatch(ctx, "layer_norm", args);
}

}  // namespace wan
