// Operators that move elements: views where they can be.

#include <algorithm>
#include <numeric>

#include "onnx/device_nodes.h"

namespace wan::onnx {

namespace {

void build_alias(Builder& builder, const Node& node) {
  builder.define(node.outputs[0], builder.device(node.inputs[0]));
}

void build_reshape(Builder& builder, const Node& node) {
  builder.define(node.outputs[0],
                 builder.reshaped(builder.device(node.inputs[0]), builder.known(node.outputs[0]).shape));
}

void build_transpose(Builder& builder, const Node& node) {
  const Placed x = builder.device(node.inputs[0]);
  builder.define(node.outputs[0], {x.storage, permuted(x.view, transpose_order(builder.call(node)))});
}

void build_expand(Builder& builder, const Node& node) {
  const Placed x = builder.device(node.inputs[0]);
  builder.define(node.outputs[0], {x.storage, broadcast_view(x.view, builder.known(node.outputs[0]).shape)});
}

void build_concat(Builder& builder, const Node& node) {
  const Shape& shape = builder.known(node.outputs[0]).shape;
  const int axis = axis_of(node.integer("axis", 0), shape.rank());
  std::vector<Placed> parts;
  for (const std::string& input : node.inputs) parts.push_back(builder.device(input));
  // Pictures stay channels last where the first one is.
  Placed out = builder.take(shape);
  const TensorView& first = parts[0].view;
  if (shape.rank() == 4 && is_dense(first) && first.stride(1) == 1 && first.dim(1) > 1) {
    const Placed frames{out.storage, out.view.reshape({shape[0], shape[2], shape[3], shape[1]})};
    out = Builder::picture(frames);
  }
  std::int64_t at = 0;
  for (const Placed& part : parts) {
    const std::int64_t end = at + part.view.dim(axis);
    builder.copy_to(part, {out.storage, out.view.slice(axis, at, end)});
    at = end;
  }
  builder.define(node.outputs[0], out);
}

void build_split(Builder& builder, const Node& node) {
  const Placed x = builder.device(node.inputs[0]);
  const int axis = axis_of(node.integer("axis", 0), x.view.rank());
  std::int64_t at = 0;
  std::size_t i = 0;
  for (const std::int64_t size : split_sizes(builder.call(node))) {
    builder.define(node.outputs[i++], {x.storage, x.view.slice(axis, at, at + size)});
    at += size;
  }
}

/// Along one axis, by index: of rows where that axis is the first.
Placed gathered(Builder& builder, const Placed& x, int axis, std::vector<std::int64_t> ids) {
  std::vector<int> order{axis};
  for (int d = 0; d < x.view.rank(); ++d)
    if (d != axis) order.push_back(d);
  const Placed table = builder.contiguous({x.storage, permuted(x.view, order)});
  const std::int64_t rows = table.view.dim(0);
  std::vector<std::int64_t> dims = dims_of(table.view.shape());
  dims[0] = static_cast<std::int64_t>(ids.size());
  const Placed matrix{table.storage, table.view.reshape({rows, table.view.elements() / rows})};
  const Placed found = builder.rows_of(matrix, std::move(ids));
  std::vector<int> back(order.size());
  for (std::size_t d = 0; d < order.size(); ++d)
    back[static_cast<std::size_t>(order[d])] = static_cast<int>(d);
  return {found.storage, permuted(found.view.reshape(Shape(dims)), back)};
}

/// Room for so many of them.
std::vector<std::int64_t> indexes(std::int64_t count) {
  ONNX_CHECK(count <= (std::int64_t{1} << 20), "{} rows by their indexes", count);
  return std::vector<std::int64_t>(static_cast<std::size_t>(count));
}

void build_slice(Builder& builder, const Node& node) {
  Placed x = builder.device(node.inputs[0]);
  int axis = 0;
  for (const SliceRange& range : slice_ranges(builder.call(node))) {
    if (range.step > 0) {
      const TensorView part =
          x.view.slice(axis, range.start, range.start + (range.count - 1) * range.step + 1);
      std::vector<std::int64_t> dims = dims_of(part.shape());
      std::vector<std::int64_t> strides = dims_of(part.strides());
      dims[static_cast<std::size_t>(axis)] = range.count;
      strides[static_cast<std::size_t>(axis)] *= range.count > 1 ? range.step : 1;
      x.view = TensorView(part.data(), part.dtype(), Shape(dims), Shape(strides), part.device());
    } else {
      std::vector<std::int64_t> ids = indexes(range.count);
      for (std::size_t i = 0; i < ids.size(); ++i)
        ids[i] = range.start + static_cast<std::int64_t>(i) * range.step;
      x = gathered(builder, x, axis, std::move(ids));
    }
    ++axis;
  }
  builder.define(node.outputs[0], x);
}

void build_gather(Builder& builder, const Node& node) {
  const Placed x = builder.device(node.inputs[0]);
  const int axis = axis_of(node.integer("axis", 0), x.view.rank());
  const Shape& shape = builder.known(node.outputs[0]).shape;
  std::vector<std::int64_t> ids = builder.known(node.inputs[1]).constant.integers("indexes");
  const std::int64_t count = x.view.dim(axis);
  bool run = true;
  for (std::int64_t& id : ids) {
    WAN_CHECK(id >= -count && id < count, kInvalidArgument, "index {} of {} elements", id, count);
    if (id < 0) id += count;
    run = run && id == ids[0] + (&id - ids.data());
  }
  const Placed found =
      run ? Placed{x.storage, x.view.slice(axis, ids[0], ids[0] + static_cast<std::int64_t>(ids.size()))}
          : gathered(builder, x, axis, std::move(ids));
  builder.define(node.outputs[0], builder.reshaped(found, shape));
}

void build_tile(Builder& builder, const Node& node) {
  Placed x = builder.device(node.inputs[0]);
  const Shape& shape = builder.known(node.outputs[0]).shape;
  for (int d = 0; d < shape.rank(); ++d) {
    if (x.view.dim(d) == shape[d]) continue;
    std::vector<std::int64_t> ids = indexes(shape[d]);
    for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::int64_t>(i) % x.view.dim(d);
    x = gathered(builder, x, d, std::move(ids));
  }
  builder.define(node.outputs[0], x);
}

/// Each element of an axis `times` times: a copy from a view of stride 0.
Placed repeated(Builder& builder, const Placed& x, int axis, std::int64_t times) {
  std::vector<std::int64_t> dims = dims_of(x.view.shape());
  dims[static_cast<std::size_t>(axis)] *= times;
  const Placed out = builder.take(Shape(dims));
  // Channels stay last where they are.
  const bool last = x.view.rank() == 4 && axis != 1 && is_dense(x.view) && x.view.stride(1) == 1;
  const Placed laid =
      last ? Builder::picture({out.storage, out.view.reshape({dims[0], dims[2], dims[3], dims[1]})}) : out;
  const auto divided = [&](const TensorView& view, std::int64_t inner, std::int64_t outer) {
    std::vector<std::int64_t> shape;
    std::vector<std::int64_t> strides;
    for (int d = 0; d < view.rank(); ++d) {
      shape.push_back(d == axis ? x.view.dim(d) : view.dim(d));
      strides.push_back(d == axis ? outer : view.stride(d));
      if (d != axis) continue;
      shape.push_back(times);
      strides.push_back(inner);
    }
    return TensorView(view.data(), view.dtype(), Shape(shape), Shape(strides), view.device());
  };
  const std::int64_t step = laid.view.stride(axis);
  builder.copy_to({x.storage, divided(x.view, 0, x.view.stride(axis))},
                  {laid.storage, divided(laid.view, step, step * times)});
  return laid;
}

/// Axis by axis: nearest is a choice of elements, linear a sum of two such choices.
void build_resize(Builder& builder, const Node& node) {
  Placed x = builder.device(node.inputs[0]);
  int axis = -1;
  for (const ResizeAxis& resize : resize_axes(builder.call(node))) {
    ++axis;
    if (resize.first.empty()) continue;
    if (resize.weight.empty()) {
      const std::int64_t times = resize.out / resize.in;
      bool whole = times * resize.in == resize.out && x.view.rank() < Shape::kMaxRank;
      for (std::int64_t o = 0; whole && o < resize.out; ++o)
        whole = resize.first[static_cast<std::size_t>(o)] == o / times;
      x = whole ? repeated(builder, x, axis, times) : gathered(builder, x, axis, resize.first);
      continue;
    }
    std::vector<std::int64_t> upper = resize.first;
    for (std::int64_t& id : upper) id = std::min(id + 1, resize.in - 1);
    const Placed below = gathered(builder, x, axis, resize.first);
    const Placed above = gathered(builder, x, axis, std::move(upper));
    const Shape shape = below.view.shape();
    std::vector<std::int64_t> dims(static_cast<std::size_t>(shape.rank()), 1);
    dims[static_cast<std::size_t>(axis)] = resize.out;
    const Placed weight =
        builder.own_weight("weights " + std::to_string(axis) + " of " + node.outputs[0], [&] {
          HostTensor made(DType::kF32, Shape(dims));
          std::copy(resize.weight.begin(), resize.weight.end(), made.fill<float>());
          return made;
        });
    const Placed difference = build_pair(builder, PointwiseKind::kSub, above, below, shape);
    const Placed part = build_pair(builder, PointwiseKind::kMul, difference, weight, shape);
    x = build_pair(builder, PointwiseKind::kAdd, below, part, shape);
  }
  builder.define(node.outputs[0], x);
}

constexpr DeviceEntry kDeviceMovement[] = {
    {"Concat", build_concat},       {"Dropout", build_alias},     {"Expand", build_expand},
    {"Flatten", build_reshape},     {"Gather", build_gather},     {"Identity", build_alias},
    {"Reshape", build_reshape},     {"Resize", build_resize},     {"Slice", build_slice},
    {"Split", build_split},         {"Squeeze", build_reshape},   {"Tile", build_tile},
    {"Transpose", build_transpose}, {"Unsqueeze", build_reshape},
};

}  // namespace

std::span<const DeviceEntry> device_movement() {
  return kDeviceMovement;
}

BuildNode find_device_node(std::string_view op) {
  static const auto table = [] {
    std::unordered_map<std::string_view, BuildNode> made;
    for (const auto entries :
         {device_elementwise(), device_movement(), device_products(), device_convolutions()})
      for (const DeviceEntry& entry : entries) made.emplace(entry.name, entry.build);
    return made;
  }();
  const auto found = table.find(op);
  return found != table.end() ? found->second : nullptr;
}

}  // namespace wan::onnx
