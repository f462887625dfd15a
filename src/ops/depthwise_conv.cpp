#include "ops/depthwise_conv.h"

#include "ops/dispatch.h"

namespace wan {

namespace {

std::int64_t depthwise_extent(std::int64_t size, std::int64_t kernel, int dilation, int stride) {
  const std::int64_t reach = (kernel - 1) * dilation + 1;
  WAN_CHECK(size >= reach && stride >= 1 && dilation >= 1, kInternal,
            "[depthwise_conv] {} elements, a kernel that reaches {} and a stride of {}", size, reach, stride);
  return (size - reach) / stride + 1;
}

}  // namespace

Shape depthwise_conv_output_shape(const DepthwiseConvArgs& args) {
  const SpatialPadding& pad = args.padding;
  return {args.x.dim(0),
          depthwise_extent(args.x.dim(1) + pad.top + pad.bottom, args.weight.dim(0), args.dilation[0],
                           args.stride[0]),
          depthwise_extent(args.x.dim(2) + pad.left + pad.right, args.weight.dim(1), args.dilation[1],
                           args.stride[1]),
          args.x.dim(3)};
}

void validate(const DepthwiseConvArgs& args) {
  constexpr const char* kOp = "depthwise_conv";
  check_rank(kOp, "x", args.x, 4);
  check_rank(kOp, "weight", args.weight, 3);
  check_shape(kOp, "weight", args.weight, {args.weight.dim(0), args.weight.dim(1), args.x.dim(3)});
  check_shape(kOp, "out", args.out, depthwise_conv_output_shape(args));
  if (args.bias) check_shape(kOp, "bias", args.bias, {args.x.dim(3)});
  for (const TensorView& view : {args.x, args.weight, args.bias, args.out})
    WAN_CHECK(!view || (view.dtype() == DType::kF32 && view.is_contiguous()), kInternal,
              "[{}] views must be f32 and contiguous", kOp);
}

void reference(const DepthwiseConvArgs& args) {
  const auto pixel = [&](std::int64_t n, std::int64_t y, std::int64_t x, std::int64_t c) {
    double sum = args.bias ? load_element(args.bias, {c}) : 0.0;
    for (std::int64_t b = 0; b < args.weight.dim(0); ++b)
      for (std::int64_t a = 0; a < args.weight.dim(1); ++a) {
        const std::int64_t in_y = args.stride[0] * y + args.dilation[0] * b - args.padding.top;
        const std::int64_t in_x = args.stride[1] * x + args.dilation[1] * a - args.padding.left;
        if (in_y < 0 || in_y >= args.x.dim(1) || in_x < 0 || in_x >= args.x.dim(2)) continue;
        sum += load_element(args.x, {n, in_y, in_x, c}) * load_element(args.weight, {b, a, c});
      }
    return sum;
  };
  for (std::int64_t n = 0; n < args.out.dim(0); ++n)
    for (std::int64_t y = 0; y < args.out.dim(1); ++y)
      for (std::int64_t x = 0; x < args.out.dim(2); ++x)
        for (std::int64_t c = 0; c < args.out.dim(3); ++c)
          store_element(args.out, {n, y, x, c}, pixel(n, y, x, c));
}

void depthwise_conv(ExecContext& ctx, const DepthwiseConvArgs& args) {
  validate(args);
  dispatch(ctx, "depthwise_conv", args);
}

}  // namespace wan
