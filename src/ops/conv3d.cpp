#include "ops/conv3d.h"

#include <array>
#include <vector>

#include "ops/dispatch.h"

namespace wan {

namespace {

std::int64_t extent(std::int64_t size, std::int64_t kernel, int stride) {
  WAN_CHECK(size >= kernel && stride >= 1, kInternal,
            "[conv3d] {} elements, a kernel of {} and a stride of {}", size, kernel, stride);
  return (size - kernel) / stride + 1;
}

void check_frames(const char* argument, const TensorView& view) {
  check_activation_dtype("conv3d", argument, view);
  const bool packed =
      view.stride(3) == 1 && view.stride(2) == view.dim(3) && view.stride(1) == view.dim(2) * view.dim(3);
  WAN_CHECK(packed, kInternal, "[conv3d] the pixels of {} must be contiguous", argument);
}

}  // namespace

Shape conv3d_output_shape(const Conv3dArgs& args) {
  const SpatialPadding& pad = args.padding;
  return {extent(args.x.dim(0), args.weight.dim(1), args.stride[0]),
          extent(args.x.dim(1) + pad.top + pad.bottom, args.weight.dim(2), args.stride[1]),
          extent(args.x.dim(2) + pad.left + pad.right, args.weight.dim(3), args.stride[2]),
          args.weight.dim(0)};
}

void validate(const Conv3dArgs& args) {
  constexpr const char* kOp = "conv3d";
  check_rank(kOp, "x", args.x, 4);
  check_rank(kOp, "weight", args.weight, 5);
  WAN_CHECK(args.weight.dim(4) == args.x.dim(3), kInternal, "[{}] weight takes {} channels, x has {}", kOp,
            args.weight.dim(4), args.x.dim(3));
  WAN_CHECK(args.weight.is_contiguous(), kInternal, "[{}] weight must be contiguous", kOp);
  check_activation_dtype(kOp, "weight", args.weight);
  check_shape(kOp, "out", args.out, conv3d_output_shape(args));
  check_frames("x", args.x);
  check_frames("out", args.out);
  if (args.bias) {
    check_shape(kOp, "bias", args.bias, {args.weight.dim(0)});
    WAN_CHECK(args.bias.dtype() == DType::kF32, kInternal, "[{}] bias must be f32", kOp);
  }
  if (args.residual) {
    check_shape(kOp, "residual", args.residual, args.out.shape());
    check_frames("residual", args.residual);
  }
}

void reference(const Conv3dArgs& args) {
  const TensorView& w = args.weight;
  const std::int64_t height = args.x.dim(1);
  const std::int64_t width = args.x.dim(2);
  const std::array<std::int64_t, 3> taps = {w.dim(1), w.dim(2), w.dim(3)};
  const std::int64_t channels = w.dim(4);
  const std::vector<double> inputs = load_elements(args.x);
  const std::vector<double> factors = load_elements(w);
  const auto pixel = [&](std::int64_t t, std::int64_t y, std::int64_t x, std::int64_t o) {
    double sum = args.bias ? load_element(args.bias, {o}) : 0.0;
    for (std::int64_t a = 0; a < taps[0]; ++a) {
      for (std::int64_t b = 0; b < taps[1]; ++b) {
        const std::int64_t in_y = args.stride[1] * y + b - args.padding.top;
        if (in_y < 0 || in_y >= height) continue;
        for (std::int64_t c = 0; c < taps[2]; ++c) {
          const std::int64_t in_x = args.stride[2] * x + c - args.padding.left;
          if (in_x < 0 || in_x >= width) continue;
          const std::int64_t in_t = args.stride[0] * t + a;
          const double* const input = inputs.data() + ((in_t * height + in_y) * width + in_x) * channels;
          const double* const factor =
              factors.data() + (((o * taps[0] + a) * taps[1] + b) * taps[2] + c) * channels;
          sum += dot_product(input, factor, channels);
        }
      }
    }
    return args.residual ? sum + load_element(args.residual, {t, y, x, o}) : sum;
  };
  for (std::int64_t t = 0; t < args.out.dim(0); ++t)
    for (std::int64_t y = 0; y < args.out.dim(1); ++y)
      for (std::int64_t x = 0; x < args.out.dim(2); ++x)
        for (std::int64_t o = 0; o < args.out.dim(3); ++o)
          store_element(args.out, {t, y, x, o}, pixel(t, y, x, o));
}

void conv3d(ExecContext& ctx, const Conv3dArgs& args) {
  validate(args);
  dispatch(ctx, "conv3d", args);
}

}  // namespace wan
