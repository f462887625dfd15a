#include "nn/causal_conv3d.h"

#include <utility>

#include "ops/copy.h"
#include "weights/convert.h"

namespace wan {

namespace {

CausalConv3d load(const WeightScope& scope, const ConvShape& shape, const Shape& stored) {
  const Tensor weight = scope.on_host().load("weight", stored);
  Tensor bias = scope.load("bias", {shape.out}, WeightDType::kFloat32);
  if (weight.empty()) return {{}, std::move(bias), shape};
  const TensorView ordered = channels_last(weight);
  return {
      scope.make(ordered.dtype(), ordered.shape(), [&](const TensorView& made) { convert(ordered, made); }),
      std::move(bias), shape};
}

Shape with_one_frame(const Shape& frames) {
  return {1, frames[1], frames[2], frames[3]};
}

}  // namespace

TensorView channels_last(const TensorView& weight) {
  TensorView view = weight;
  if (view.rank() == 4) view = view.reshape({view.dim(0), view.dim(1), 1, view.dim(2), view.dim(3)});
  return view.permute({0, 2, 3, 4, 1});
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

bool CausalConv3d::turns_cheaply(const Shape& frame) const {
  const std::int64_t weights =
      shape_.out * shape_.in * shape_.kernel[0] * shape_.kernel[1] * shape_.kernel[2];
  return history() > 0 && shape_.stride[0] == 1 && weights <= history() * with_one_frame(frame).elements();
}

Shape CausalConv3d::weight_shape() const {
  return {shape_.out, shape_.kernel[0], shape_.kernel[1], shape_.kernel[2], shape_.in};
}

TensorView CausalConv3d::weight_of(ExecContext& ctx, const FrameWindow& window) const {
  const std::int64_t first = window.first;
  if (first == 0) return weight_;
  const TensorView turned = ctx.workspace.take(weight_.dtype(), weight_shape());
  const std::int64_t taps = turned.dim(1);
  // The frames before place `first` are the window's last ones.
  copy(ctx, {.from = weight_.view().slice(1, taps - first, taps), .out = turned.slice(1, 0, first)});
  copy(ctx, {.from = weight_.view().slice(1, 0, taps - first), .out = turned.slice(1, first, taps)});
  return turned;
}

SpatialPadding CausalConv3d::padding_of(const FrameWindow& window) const {
  const SpatialPadding& all = shape_.padding;
  const SpatialPadding& halo = window.halo;
  return {.top = all.top - halo.top,
          .bottom = all.bottom - halo.bottom,
          .left = all.left - halo.left,
          .right = all.right - halo.right};
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

void CausalConv3d::forward(ExecContext& ctx, const FrameWindow& x, const TensorView& out,
                           const TensorView& residual) const {
  const Workspace::Scope scope(ctx.workspace);
  conv3d(ctx, {.x = x.frames,
               .weight = weight_of(ctx, x),
               .bias = bias_,
               .stride = shape_.stride,
               .padding = padding_of(x),
               .residual = residual,
               .out = out});
}

void CausalConv3d::forward_halves(ExecContext& ctx, const FrameWindow& x, const TensorView& first,
                                  const TensorView& second) const {
  const Workspace::Scope scope(ctx.workspace);
  const TensorView weight = weight_of(ctx, x);
  std::int64_t channel = 0;
  for (const TensorView& out : {first, second}) {
    const std::int64_t end = channel + out.dim(3);
    conv3d(ctx, {.x = x.frames,
                 .weight = weight.slice(0, channel, end),
                 .bias = bias_.view().slice(0, channel, end),
                 .stride = shape_.stride,
                 .padding = padding_of(x),
                 .residual = {},
                 .out = out});
    channel = end;
  }
}

}  // namespace wan
