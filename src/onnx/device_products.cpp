// Matrix products and attention on the device.

#include <algorithm>

#include "onnx/device_nodes.h"
#include "ops/attention.h"
#include "ops/linear.h"

namespace wan::onnx {

namespace {

/// Rows [M, K] of a value whose last axis is K: a view where it can be, whose rows may be strided.
Placed rows_of_value(Builder& builder, const Placed& x) {
  const std::int64_t width = x.view.dim(-1);
  const Shape shape{x.view.elements() / width, width};
  const Placed rows = builder.reshaped(x, shape);
  return rows.view.stride(1) == 1 && rows.view.stride(0) >= width ? rows : builder.contiguous(rows);
}

/// x [M, K] times weight [N, K], with a bias [N] and a function.
struct Product {
  Placed x, weight, bias;
  std::optional<PointwiseKind> function;
};

void emit_product(Builder& builder, const Product& product, const Placed& out) {
  ActivationKind within = ActivationKind::kNone;
  std::optional<PointwiseKind> after = product.function;
  if (after == PointwiseKind::kGelu) within = ActivationKind::kGelu;
  if (after == PointwiseKind::kGeluTanh) within = ActivationKind::kGeluTanh;
  if (after == PointwiseKind::kSiLU) within = ActivationKind::kSiLU;
  if (within != ActivationKind::kNone) after.reset();
  builder.emit({product.x, product.weight, product.bias, out}, [=](Running& run) {
    linear(run.ctx, {.x = run(product.x),
                     .weight = run(product.weight),
                     .bias = run(product.bias),
                     .out = run(out),
                     .activation = within});
    if (after) run_function(run.ctx, *after, run(out), run(out));
  });
}

/// A constant [K, N] as the weight [N, K].
Placed turned_weight(Builder& builder, const std::string& name) {
  return builder.weight(name, "[N, K]", [](const TensorView& view) { return view.permute({1, 0}); });
}

void build_linear(Builder& builder, const Node& node) {
  const Placed x = builder.device(node.inputs[0]);
  const Placed weight = turned_weight(builder, node.inputs[1]);
  const Placed rows = rows_of_value(builder, x);
  const Placed out = builder.take({rows.view.dim(0), weight.view.dim(0)});
  const Placed bias = node.has_input(2) ? builder.device(node.inputs[2]) : Placed();
  emit_product(builder, {rows, weight, bias, fused_function(node)}, out);
  builder.define(node.outputs[0], {out.storage, out.view.reshape(builder.known(node.outputs[0]).shape)});
}

Shape with_matrix(const Shape& batch, std::int64_t rows, std::int64_t columns) {
  std::vector<std::int64_t> dims = dims_of(batch);
  dims.push_back(rows);
  dims.push_back(columns);
  return Shape(dims);
}

/// Matrices of a value: [B, rows, columns], contiguous, repeated along the batch where that is wider.
Placed matrices(Builder& builder, const Placed& x, const Shape& batch) {
  const std::int64_t rows = x.view.dim(-2);
  const std::int64_t columns = x.view.dim(-1);
  const Placed repeated{x.storage, broadcast_view(x.view, with_matrix(batch, rows, columns))};
  const Placed dense = builder.contiguous(repeated);
  return {dense.storage, dense.view.reshape({batch.elements(), rows, columns})};
}

void build_mat_mul(Builder& builder, const Node& node) {
  const Known& second = builder.known(node.inputs[1]);
  const Shape& shape = builder.known(node.outputs[0]).shape;
  if (second.constant && second.shape.rank() == 2 && builder.known(node.inputs[0]).shape.rank() >= 2 &&
      second.shape[0] > 0)
    return build_linear(builder, node);
  Placed a = builder.device(node.inputs[0]);
  Placed b = builder.device(node.inputs[1]);
  ONNX_CHECK(a.view.dim(-1) > 0, "factors without elements");
  if (a.view.rank() == 1) a = builder.reshaped(a, {1, a.view.dim(0)});
  if (b.view.rank() == 1) b = builder.reshaped(b, {b.view.dim(0), 1});
  const auto batch_of = [](const TensorView& view) {
    std::vector<std::int64_t> dims = dims_of(view.shape());
    dims.resize(dims.size() - 2);
    return Shape(dims);
  };
  const Shape batch = broadcast(batch_of(a.view), batch_of(b.view));
  // [B, N, K]: a product takes the second factor turned.
  std::vector<int> order;
  for (int d = 0; d + 2 < b.view.rank(); ++d) order.push_back(d);
  order.push_back(b.view.rank() - 1);
  order.push_back(b.view.rank() - 2);
  const Placed left = matrices(builder, a, batch);
  const Placed right = matrices(builder, {b.storage, permuted(b.view, order)}, batch);
  const std::int64_t count = batch.elements();
  const Placed out = builder.take({count, left.view.dim(1), right.view.dim(1)});
  builder.emit({left, right, out}, [=](Running& run) {
    for (std::int64_t i = 0; i < count; ++i)
      linear(run.ctx, {.x = run(left).select(0, i),
                       .weight = run(right).select(0, i),
                       .bias = {},
                       .out = run(out).select(0, i)});
  });
  builder.define(node.outputs[0], {out.storage, out.view.reshape(shape)});
}

/// A scalar constant.
Placed number_of_node(Builder& builder, const Node& node, const char* what, double value) {
  return builder.own_weight(std::string(what) + " of " + node.outputs[0], [&] {
    HostTensor made(DType::kF32, Shape{1});
    *made.fill<float>() = static_cast<float>(value);
    return made;
  });
}

void build_gemm(Builder& builder, const Node& node) {
  const Shape& shape = builder.known(node.outputs[0]).shape;
  const double alpha = node.number("alpha", 1.0);
  const double beta = node.number("beta", 1.0);
  Placed x = builder.device(node.inputs[0]);
  if (node.integer("transA", 0) != 0) x.view = x.view.permute({1, 0});
  ONNX_CHECK(x.view.dim(1) > 0, "factors without elements");
  const Placed rows = rows_of_value(builder, x);
  const bool turned = node.integer("transB", 0) != 0;
  Placed weight;
  if (builder.known(node.inputs[1]).constant) {
    weight = turned ? builder.device(node.inputs[1]) : turned_weight(builder, node.inputs[1]);
  } else {
    weight = builder.device(node.inputs[1]);
    if (!turned) weight.view = weight.view.permute({1, 0});
    weight = builder.contiguous(weight);
  }
  const Placed out = builder.take(shape);
  const bool row = node.has_input(2) && builder.known(node.inputs[2]).shape == Shape{shape[1]};
  const bool plain = alpha == 1.0 && (!node.has_input(2) || (row && beta == 1.0));
  if (plain) {
    const Placed bias = row ? builder.contiguous(builder.device(node.inputs[2])) : Placed();
    emit_product(builder, {rows, weight, bias, fused_function(node)}, out);
    return builder.define(node.outputs[0], out);
  }
  emit_product(builder, {rows, weight, {}, std::nullopt}, out);
  Placed sum = out;
  if (alpha != 1.0)
    sum = build_pair(builder, PointwiseKind::kMul, sum, number_of_node(builder, node, "alpha", alpha), shape);
  if (node.has_input(2)) {
    Placed addend = builder.device(node.inputs[2]);
    if (beta != 1.0)
      addend = build_pair(builder, PointwiseKind::kMul, addend, number_of_node(builder, node, "beta", beta),
                          broadcast(addend.view.shape(), {1}));
    sum = build_pair(builder, PointwiseKind::kAdd, sum, addend, shape);
  }
  if (const auto function = fused_function(node))
    builder.emit({sum}, [=](Running& run) { run_function(run.ctx, *function, run(sum), run(sum)); });
  builder.define(node.outputs[0], sum);
}

/// q [.., L, D], k [.., D, K] and v [.., K, D]. All that is before them are heads of one attention.
void build_attention(Builder& builder, const Node& node) {
  const Placed q = builder.device(node.inputs[0]);
  Placed k = builder.device(node.inputs[1]);
  const Placed v = builder.device(node.inputs[2]);
  const int rank = q.view.rank();
  std::vector<int> order;
  for (int d = 0; d + 2 < rank; ++d) order.push_back(d);
  order.push_back(rank - 1);
  order.push_back(rank - 2);
  k.view = permuted(k.view, order);
  const auto heads = [&](const Placed& x) {
    const Placed dense = builder.contiguous(x);
    const TensorView& view = dense.view;
    const std::int64_t rows = view.dim(-2);
    const std::int64_t width = view.dim(-1);
    return Placed{dense.storage,
                  view.reshape({view.elements() / (rows * width), rows, width}).permute({1, 0, 2})};
  };
  const Placed queries = heads(q);
  const Placed keys = heads(k);
  const Placed values = heads(v);
  const Placed made = builder.take(q.view.shape());
  const Placed out = heads(made);
  const auto scale = static_cast<float>(node.number("scale", 1.0));
  builder.emit({queries, keys, values, out}, [=](Running& run) {
    attention(run.ctx, {.q = run(queries),
                        .k = run(keys),
                        .v = run(values),
                        .scale = scale,
                        .bias = {},
                        .key_bias = {},
                        .out = run(out)});
  });
  builder.define(node.outputs[0], made);
}

constexpr DeviceEntry kDeviceProducts[] = {
    {"Gemm", build_gemm},
    {"MatMul", build_mat_mul},
    {"wan.Attention", build_attention},
    {"wan.Linear", build_linear},
};

}  // namespace

std::span<const DeviceEntry> device_products() {
  return kDeviceProducts;
}

}  // namespace wan::onnx
