#include "nn/causal_conv3d.h"

#include <utility>

#include "ops/copy.h"

namespace wan {

namespace {

CausalConv3d load(const WeightScope& scope, const ConvShape& shape, const Shape& stored) {
  const Tensor weight = scope.on_host().load("weight", stored, WeightDType::kFloat32);
  Tensor bias = scope.load("bias", {shape.out}, WeightDType::kFloat32);
  return {scope.place(channels_last_weight(weight)), std::move(bias), shape};
}

}  // namespace

Tensor channels_last_weight(const Tensor& weight) {
  if (weight.empty()) return {};
  WAN_CHECK(weight.view().device().kind == DeviceKind::kCpu, kUnsupported,
            "[conv weight] convolution weights are reordered on the host; load them there");
  TensorView view = weight;
  if (view.rank() == 4) view = view.reshape({view.dim(0), view.dim(1), 1, view.dim(2), view.dim(3)});
  view = view.permute({0, 2, 3, 4, 1});
  Tensor ordered(DType::kF32, view.shape());
  reference(CopyArgs{.from = view, .out = ordered});
  return ordered;
}

CausalConv3d::CausalConv3d(const WeightScope& scope, const ConvShape& shape)
    : CausalConv3d(
          load(scope, shape, {shape.out, shape.in, shape.kernel[0], shape.kernel[1], shape.kernel[2]})) {}

CausalConv3d::CausalConv3d(Tensor weight, Tensor bias, const ConvShape& shape)
    : shape_(shape), weight_(std::move(weight)), bias_(std::move(bias)) {}

CausalConv3d CausalConv3d::load_2d(const WeightScope& scope, const ConvShape& shape) {
  WAN_ASSERT(shape.kernel[0] == 1);
  return load(scope, shape, {shape.out, shape.in, shape.kernel[1], shape.kernel[2]});
}

Shape CausalConv3d::output_shape(const Shape& group) const {
  const auto extent = [&](int dim, std::int64_t padded) {
    const auto i = static_cast<std::size_t>(dim);
    return (padded - shape_.kernel[i]) / shape_.stride[i] + 1;
  };
  const SpatialPadding& pad = shape_.padding;
  return {extent(0, group[0] + history()), extent(1, group[1] + pad.top + pad.bottom),
          extent(2, group[2] + pad.left + pad.right), shape_.out};
}

void CausalConv3d::forward(ExecContext& ctx, const TensorView& x, const TensorView& out,
                           const TensorView& residual) const {
  conv3d(ctx, {.x = x,
               .weight = weight_,
               .bias = bias_,
               .stride = shape_.stride,
               .padding = shape_.padding,
               .residual = residual,
               .out = out});
}

}  // namespace wan
