// Functions of elements, norms, reductions and softmax on the device.

#include <algorithm>

#include "onnx/device_nodes.h"
#include "ops/layer_norm.h"

namespace wan::onnx {

namespace {

TensorView flat_of(const TensorView& dense) {
  return {dense.data(), dense.dtype(), Shape{dense.elements()}, dense.device()};
}

std::optional<ActivationKind> activation_of(PointwiseKind kind) {
  switch (kind) {
    case PointwiseKind::kSiLU:
      return ActivationKind::kSiLU;
    case PointwiseKind::kGelu:
      return ActivationKind::kGelu;
    case PointwiseKind::kGeluTanh:
      return ActivationKind::kGeluTanh;
    default:
      return std::nullopt;
  }
}

void build_function(Builder& builder, const Node& node) {
  const Placed x = builder.device(node.inputs[0]);
  const Placed out = builder.take_like(x.view.shape(), x);
  const PointwiseKind kind = *function_of_one(node);
  builder.emit({x, out}, [kind, x, out](Running& run) { run_function(run.ctx, kind, run(x), run(out)); });
  builder.define(node.outputs[0], out);
}

void build_binary(Builder& builder, const Node& node) {
  const Placed a = builder.device(node.inputs[0]);
  const Placed b = builder.device(node.inputs[1]);
  builder.define(node.outputs[0],
                 build_pair(builder, *function_of_two(node), a, b, builder.known(node.outputs[0]).shape));
}

void build_clip(Builder& builder, const Node& node) {
  Placed x = builder.device(node.inputs[0]);
  for (std::size_t i = 1; i < 3; ++i)
    if (node.has_input(i))
      x = build_pair(builder, i == 1 ? PointwiseKind::kMax : PointwiseKind::kMin, x,
                     builder.device(node.inputs[i]), x.view.shape());
  builder.define(node.outputs[0], x);
}

/// A constant [C] along axis 1 of a value of this rank.
Placed along_channels(const Placed& row, int rank) {
  std::vector<std::int64_t> dims(static_cast<std::size_t>(rank - 1), 1);
  dims[0] = row.view.dim(0);
  return {row.storage, row.view.reshape(Shape(dims))};
}

void build_batch_norm(Builder& builder, const Node& node) {
  const Placed x = builder.device(node.inputs[0]);
  const Call call = builder.call(node);
  const std::string& name = node.inputs[1];
  const Placed factor =
      builder.made_weight(name, "factor of " + node.outputs[0], [&] { return batch_scale(call).factor; });
  const Placed addend =
      builder.made_weight(name, "addend of " + node.outputs[0], [&] { return batch_scale(call).addend; });
  const int rank = x.view.rank();
  const Placed scaled =
      build_pair(builder, PointwiseKind::kMul, x, along_channels(factor, rank), x.view.shape());
  builder.define(node.outputs[0], build_pair(builder, PointwiseKind::kAdd, scaled,
                                             along_channels(addend, rank), x.view.shape()));
}

void build_layer_norm(Builder& builder, const Node& node) {
  const Shape shape = builder.known(node.inputs[0]).shape;
  const int axis = axis_of(node.integer("axis", -1), shape.rank());
  std::int64_t width = 1;
  for (int d = axis; d < shape.rank(); ++d) width *= shape[d];
  const Placed x = builder.contiguous(builder.device(node.inputs[0]));
  const Placed out = builder.take(shape);
  const Placed weight = builder.contiguous(builder.device(node.inputs[1]));
  const Placed bias =
      node.has_input(2)
          ? builder.contiguous(builder.device(node.inputs[2]))
          : builder.made_weight(node.inputs[1], "no bias", [&] { return HostTensor(DType::kF32, {width}); });
  const auto eps = static_cast<float>(node.number("epsilon", 1e-5));
  const Shape rows{shape.elements() / width, width};
  builder.emit({x, weight, bias, out}, [=](Running& run) {
    LayerNormArgs args{};
    args.x = run(x).reshape(rows);
    args.weight = run(weight).reshape({width});
    args.bias = run(bias).reshape({width});
    args.eps = eps;
    args.out = run(out).reshape(rows);
    layer_norm(run.ctx, args);
  });
  builder.define(node.outputs[0], out);
}

void build_reduce(Builder& builder, const Node& node) {
  const Placed x = builder.device(node.inputs[0]);
  const std::vector<int> axes = reduced_axes(builder.call(node));
  const Shape& shape = builder.known(node.outputs[0]).shape;
  if (axes.empty()) return builder.define(node.outputs[0], x);
  const RowReductionKind kind = node.op == "ReduceMax"    ? RowReductionKind::kMax
                                : node.op == "ReduceMin"  ? RowReductionKind::kMin
                                : node.op == "ReduceMean" ? RowReductionKind::kMean
                                                          : RowReductionKind::kSum;
  builder.define(node.outputs[0], build_reduction(builder, kind, x, axes, shape));
}

void build_global_average(Builder& builder, const Node& node) {
  const Placed x = builder.device(node.inputs[0]);
  std::vector<int> axes;
  for (int d = 2; d < x.view.rank(); ++d) axes.push_back(d);
  builder.define(node.outputs[0], build_reduction(builder, RowReductionKind::kMean, x, axes,
                                                  builder.known(node.outputs[0]).shape));
}

void build_softmax(Builder& builder, const Node& node) {
  const Placed x = builder.device(node.inputs[0]);
  const Call call = builder.call(node);
  const int axis = softmax_axis(call);
  const int rank = x.view.rank();
  // The axes of the sum go last.
  std::vector<int> order;
  for (int d = 0; d < rank; ++d)
    if (softmax_flattens(call) || d != axis) order.push_back(d);
  if (!softmax_flattens(call)) order.push_back(axis);
  const Placed rows = builder.contiguous({x.storage, permuted(x.view, order)});
  std::int64_t width = softmax_flattens(call) ? 1 : x.view.dim(axis);
  if (softmax_flattens(call))
    for (int d = axis; d < rank; ++d) width *= x.view.dim(d);
  const Placed out = builder.take(rows.view.shape());
  const Shape matrix{x.view.elements() / width, width};
  builder.emit({rows, out}, [=](Running& run) {
    row_softmax(run.ctx, {.x = run(rows).reshape(matrix), .out = run(out).reshape(matrix)});
  });
  std::vector<int> back(static_cast<std::size_t>(rank));
  for (int d = 0; d < rank; ++d) back[static_cast<std::size_t>(order[static_cast<std::size_t>(d)])] = d;
  builder.define(node.outputs[0], {out.storage, permuted(out.view, back)});
}

constexpr DeviceEntry kDeviceElementwise[] = {
    {"Abs", build_function},
    {"Add", build_binary},
    {"BatchNormalization", build_batch_norm},
    {"Ceil", build_function},
    {"Clip", build_clip},
    {"Div", build_binary},
    {"Erf", build_function},
    {"Exp", build_function},
    {"Floor", build_function},
    {"Gelu", build_function},
    {"GlobalAveragePool", build_global_average},
    {"LayerNormalization", build_layer_norm},
    {"Log", build_function},
    {"Max", build_binary},
    {"Min", build_binary},
    {"Mul", build_binary},
    {"Neg", build_function},
    {"Pow", build_binary},
    {"Reciprocal", build_function},
    {"ReduceMax", build_reduce},
    {"ReduceMean", build_reduce},
    {"ReduceMin", build_reduce},
    {"ReduceSum", build_reduce},
    {"Relu", build_function},
    {"Sigmoid", build_function},
    {"Softmax", build_softmax},
    {"Sqrt", build_function},
    {"Sub", build_binary},
    {"Tanh", build_function},
    {"wan.SiLU", build_function},
};

}  // namespace

std::span<const DeviceEntry> device_elementwise() {
  return kDeviceElementwise;
}

void run_function(ExecContext& ctx, PointwiseKind kind, const TensorView& x, const TensorView& out) {
  const auto fast = activation_of(kind);
  if (fast && is_dense(x) && is_dense(out) && x.strides() == out.strides())
    return activation(ctx, {.x = flat_of(x), .kind = *fast, .out = flat_of(out)});
  pointwise(ctx, {.kind = kind, .x = x, .y = {}, .out = out});
}

Placed build_pair(Builder& builder, PointwiseKind kind, const Placed& a, const Placed& b,
                  const Shape& shape) {
  const bool like_a = a.view.shape() == shape && is_dense(a.view);
  const Placed out = builder.take_like(shape, like_a ? a : b);
  const Placed x{a.storage, broadcast_view(a.view, shape)};
  const Placed y{b.storage, broadcast_view(b.view, shape)};
  builder.emit({x, y, out}, [=](Running& run) {
    pointwise(run.ctx, {.kind = kind, .x = run(x), .y = run(y), .out = run(out)});
  });
  return out;
}

Placed build_reduction(Builder& builder, RowReductionKind kind, const Placed& x, std::span<const int> axes,
                       const Shape& shape) {
  std::vector<int> order;
  std::int64_t width = 1;
  for (int d = 0; d < x.view.rank(); ++d)
    if (std::find(axes.begin(), axes.end(), d) == axes.end()) order.push_back(d);
  for (const int axis : axes) {
    order.push_back(axis);
    width *= x.view.dim(axis);
  }
  const Placed rows = builder.contiguous({x.storage, permuted(x.view, order)});
  const Placed out = builder.take(shape);
  const std::int64_t count = shape.elements();
  builder.emit({rows, out}, [=](Running& run) {
    row_reduction(run.ctx,
                  {.kind = kind, .x = run(rows).reshape({count, width}), .out = run(out).reshape({count})});
  });
  return out;
}

}  // namespace wan::onnx
