// Operators that move, repeat, or tell the places of elements.

#include <algorithm>
#include <limits>
#include <numeric>

#include "onnx/operators_common.h"
#include "onnx/tensor_reader.h"

namespace wan::onnx {

namespace {

using Dims = std::vector<std::int64_t>;

void compute_same_elements(const Call&, std::span<const HostTensor> in, std::span<HostTensor> out) {
  std::memcpy(out[0].writable(), in[0].data(), in[0].bytes());
}

std::vector<Known> reshaped(const Call& call, const Dims& dims) {
  const Shape shape = checked_shape(dims);
  ONNX_CHECK(shape.elements() == call.shape(0).elements(), "{} cannot become {}", call.shape(0).to_string(),
             shape.to_string());
  return {{call.in(0).dtype, shape, {}}};
}

std::vector<Known> infer_reshape(const Call& call) {
  Dims dims = call.integers(1);
  const Shape& from = call.shape(0);
  const bool zero_is_zero = call.node.integer("allowzero", 0) != 0;
  std::int64_t known = 1;
  int free = -1;
  for (std::size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] == 0 && !zero_is_zero) {
      ONNX_CHECK(i < static_cast<std::size_t>(from.rank()), "dimension {} is to stay, of {}", i,
                 from.to_string());
      dims[i] = from[static_cast<int>(i)];
    }
    if (dims[i] == -1) {
      ONNX_CHECK(free < 0, "two dimensions are left open");
      free = static_cast<int>(i);
    } else {
      ONNX_CHECK(
          dims[i] >= 0 && (dims[i] == 0 || known <= std::numeric_limits<std::int64_t>::max() / dims[i]),
          "a dimension of {}", dims[i]);
      known *= dims[i];
    }
  }
  if (free >= 0) {
    ONNX_CHECK(known > 0 && from.elements() % known == 0, "{} elements are not a multiple of {}",
               from.elements(), known);
    dims[static_cast<std::size_t>(free)] = from.elements() / known;
  }
  return reshaped(call, dims);
}

std::vector<Known> infer_flatten(const Call& call) {
  const Shape& from = call.shape(0);
  const std::int64_t axis = call.node.integer("axis", 1);
  ONNX_CHECK(axis >= -from.rank() && axis <= from.rank(), "axis {} of {}", axis, from.to_string());
  const auto split = static_cast<std::size_t>(axis < 0 ? axis + from.rank() : axis);
  std::int64_t rows = 1;
  for (std::size_t i = 0; i < split; ++i) rows *= from.extents()[i];
  std::int64_t columns = 1;
  for (std::size_t i = split; i < from.extents().size(); ++i) columns *= from.extents()[i];
  return reshaped(call, {rows, columns});
}

std::vector<Known> infer_squeeze(const Call& call) {
  const Shape& from = call.shape(0);
  std::vector<bool> dropped(static_cast<std::size_t>(from.rank()));
  const Dims axes = call.integers(1, "axes");
  for (const std::int64_t axis : axes) {
    const int at = axis_of(axis, from.rank());
    ONNX_CHECK(from.rank() > 0 && from[at] == 1, "dimension {} of {} is not 1", at, from.to_string());
    dropped[static_cast<std::size_t>(at)] = true;
  }
  Dims dims;
  for (int i = 0; i < from.rank(); ++i)
    if (axes.empty() ? from[i] != 1 : !dropped[static_cast<std::size_t>(i)]) dims.push_back(from[i]);
  return reshaped(call, dims);
}

std::vector<Known> infer_unsqueeze(const Call& call) {
  const Shape& from = call.shape(0);
  const Dims axes = call.integers(1, "axes");
  ONNX_CHECK(axes.size() + static_cast<std::size_t>(from.rank()) <= Shape::kMaxRank,
             "{} dimensions and {} more", from.rank(), axes.size());
  const int rank = from.rank() + static_cast<int>(axes.size());
  std::vector<bool> added(static_cast<std::size_t>(rank));
  for (const std::int64_t axis : axes) {
    const auto at = static_cast<std::size_t>(axis_of(axis, rank));
    ONNX_CHECK(!added[at], "axis {} twice", axis);
    added[at] = true;
  }
  Dims dims;
  int next = 0;
  for (const bool one : added) dims.push_back(one ? 1 : from[next++]);
  return reshaped(call, dims);
}

std::vector<Known> infer_shape(const Call& call) {
  const int rank = call.shape(0).rank();
  const auto clamped = [&](std::int64_t at) {
    return std::clamp<std::int64_t>(at < 0 ? at + rank : at, 0, rank);
  };
  const std::int64_t start = clamped(call.node.integer("start", 0));
  const std::int64_t end = std::max(start, clamped(call.node.integer("end", rank)));
  HostTensor value(DType::kI64, {end - start});
  for (std::int64_t i = start; i < end; ++i)
    value.fill<std::int64_t>()[i - start] = call.shape(0)[static_cast<int>(i)];
  return {{DType::kI64, value.shape(), value}};
}

std::vector<Known> infer_size(const Call& call) {
  HostTensor value(DType::kI64, {});
  *value.fill<std::int64_t>() = call.shape(0).elements();
  return {{DType::kI64, {}, value}};
}

std::vector<Known> infer_expand(const Call& call) {
  return {{call.in(0).dtype, broadcast(call.shape(0), checked_shape(call.integers(1))), {}}};
}

void compute_expand(const Call&, std::span<const HostTensor> in, std::span<HostTensor> out) {
  gather_strided(in[0], 0, broadcast_strides(in[0].shape(), out[0].shape()), out[0]);
}

std::vector<Known> infer_constant_of_shape(const Call& call) {
  const auto value = call.node.attributes.find("value");
  const bool given = value != call.node.attributes.end() && value->second.tensor;
  if (given) ONNX_CHECK(value->second.tensor->elements() == 1, "a value that is not one number");
  return {{given ? value->second.tensor->dtype() : DType::kF32, checked_shape(call.integers(0)), {}}};
}

void compute_constant_of_shape(const Call& call, std::span<const HostTensor>, std::span<HostTensor> out) {
  const auto value = call.node.attributes.find("value");
  if (value == call.node.attributes.end() || !value->second.tensor) return;
  const Shape still = broadcast_strides({}, out[0].shape());
  gather_strided(*value->second.tensor, 0, still, out[0]);
}

std::vector<Known> infer_concat(const Call& call) {
  ONNX_CHECK(!call.inputs.empty(), "no input");
  const Shape& first = call.shape(0);
  const int axis =
      axis_of(call.node.integer("axis", std::numeric_limits<std::int64_t>::min() / 2), first.rank());
  ONNX_CHECK(first.rank() > 0, "inputs without dimensions");
  Dims dims = dims_of(first);
  for (std::size_t i = 1; i < call.inputs.size(); ++i) {
    const Shape& other = call.shape(i);
    ONNX_CHECK(call.in(i).dtype == call.in(0).dtype, "inputs of two types, {} and {}",
               dtype_name(call.in(0).dtype), dtype_name(call.in(i).dtype));
    bool fits = other.rank() == first.rank();
    for (int d = 0; fits && d < first.rank(); ++d) fits = d == axis || other[d] == first[d];
    ONNX_CHECK(fits, "{} and {} do not fit beside each other", first.to_string(), other.to_string());
    dims[static_cast<std::size_t>(axis)] += other[axis];
  }
  return {{call.in(0).dtype, checked_shape(dims), {}}};
}

/// Bytes of a run along an axis, and how many runs there are before it.
struct Runs {
  std::size_t outer = 1, inner = 1;
  Runs(const Shape& shape, int axis, DType dtype) : inner(dtype_size(dtype)) {
    for (int d = 0; d < axis; ++d) outer *= static_cast<std::size_t>(shape[d]);
    for (int d = axis + 1; d < shape.rank(); ++d) inner *= static_cast<std::size_t>(shape[d]);
  }
};

void compute_concat(const Call& call, std::span<const HostTensor> in, std::span<HostTensor> out) {
  const int axis = axis_of(call.node.integer("axis", 0), out[0].shape().rank());
  const Runs runs(out[0].shape(), axis, out[0].dtype());
  const std::size_t whole = static_cast<std::size_t>(out[0].shape()[axis]) * runs.inner;
  std::size_t at = 0;
  for (const HostTensor& part : in) {
    const std::size_t length = static_cast<std::size_t>(part.shape()[axis]) * runs.inner;
    for (std::size_t i = 0; i < runs.outer; ++i)
      std::memcpy(out[0].writable() + i * whole + at, part.data() + i * length, length);
    at += length;
  }
}

std::vector<Known> infer_split(const Call& call) {
  const int axis = axis_of(call.node.integer("axis", 0), call.shape(0).rank());
  std::vector<Known> made;
  for (const std::int64_t size : split_sizes(call)) {
    Dims dims = dims_of(call.shape(0));
    dims[static_cast<std::size_t>(axis)] = size;
    made.push_back({call.in(0).dtype, checked_shape(dims), {}});
  }
  return made;
}

void compute_split(const Call& call, std::span<const HostTensor> in, std::span<HostTensor> out) {
  const int axis = axis_of(call.node.integer("axis", 0), in[0].shape().rank());
  const Runs runs(in[0].shape(), axis, in[0].dtype());
  const std::size_t whole = static_cast<std::size_t>(in[0].shape()[axis]) * runs.inner;
  std::size_t at = 0;
  for (HostTensor& part : out) {
    const std::size_t length = static_cast<std::size_t>(part.shape()[axis]) * runs.inner;
    for (std::size_t i = 0; i < runs.outer; ++i)
      std::memcpy(part.writable() + i * length, in[0].data() + i * whole + at, length);
    at += length;
  }
}

std::vector<Known> infer_slice(const Call& call) {
  Dims dims;
  for (const SliceRange& range : slice_ranges(call)) dims.push_back(range.count);
  return {{call.in(0).dtype, checked_shape(dims), {}}};
}

void compute_slice(const Call& call, std::span<const HostTensor> in, std::span<HostTensor> out) {
  const Shape own = contiguous_strides(in[0].shape());
  std::int64_t offset = 0;
  Dims strides;
  int d = 0;
  for (const SliceRange& range : slice_ranges(call)) {
    if (range.count > 0) offset += range.start * own[d];
    strides.push_back(range.step * own[d++]);
  }
  // A Shape has no negative extents: a backward slice is read from its last element on, and turned round.
  std::array<bool, Shape::kMaxRank> backward{};
  for (std::size_t i = 0; i < strides.size(); ++i)
    if (strides[i] < 0) {
      backward[i] = true;
      const std::int64_t count = out[0].shape()[static_cast<int>(i)];
      if (count > 0) offset += strides[i] * (count - 1);
      strides[i] = -strides[i];
    }
  HostTensor forward = std::none_of(backward.begin(), backward.end(), [](bool b) { return b; })
                           ? out[0]
                           : HostTensor(out[0].dtype(), out[0].shape());
  gather_strided(in[0], offset, Shape(strides), forward);
  if (forward.data() == out[0].data()) return;
  const Shape to = contiguous_strides(out[0].shape());
  const std::size_t size = dtype_size(out[0].dtype());
  std::array<std::int64_t, Shape::kMaxRank> index{};
  for_each_element<1>(out[0].shape(), {to}, [&](std::int64_t i, const auto&) {
    std::int64_t rest = i;
    std::int64_t at = 0;
    for (int k = 0; k < to.rank(); ++k) {
      index[static_cast<std::size_t>(k)] = rest / to[k];
      rest %= to[k];
      const std::int64_t place = index[static_cast<std::size_t>(k)];
      at += (backward[static_cast<std::size_t>(k)] ? out[0].shape()[k] - 1 - place : place) * to[k];
    }
    std::memcpy(out[0].writable() + static_cast<std::size_t>(at) * size,
                forward.data() + static_cast<std::size_t>(i) * size, size);
  });
}

std::vector<Known> infer_transpose(const Call& call) {
  Dims dims;
  for (const int axis : transpose_order(call)) dims.push_back(call.shape(0)[axis]);
  return {{call.in(0).dtype, checked_shape(dims), {}}};
}

void compute_transpose(const Call& call, std::span<const HostTensor> in, std::span<HostTensor> out) {
  const Shape own = contiguous_strides(in[0].shape());
  Dims strides;
  for (const int axis : transpose_order(call)) strides.push_back(own[axis]);
  gather_strided(in[0], 0, Shape(strides), out[0]);
}

std::vector<Known> infer_gather(const Call& call) {
  const Shape& from = call.shape(0);
  const Shape& ids = call.shape(1);
  ONNX_CHECK(call.in(1).dtype == DType::kI64 || call.in(1).dtype == DType::kI32, "indexes of type {}",
             dtype_name(call.in(1).dtype));
  ONNX_CHECK(from.rank() > 0, "an input without dimensions");
  const int axis = axis_of(call.node.integer("axis", 0), from.rank());
  Dims dims;
  for (int d = 0; d < axis; ++d) dims.push_back(from[d]);
  for (const std::int64_t extent : ids.extents()) dims.push_back(extent);
  for (int d = axis + 1; d < from.rank(); ++d) dims.push_back(from[d]);
  return {{call.in(0).dtype, checked_shape(dims), {}}};
}

std::int64_t checked_index(std::int64_t index, std::int64_t count) {
  WAN_CHECK(index >= -count && index < count, kInvalidArgument, "index {} of {} elements", index, count);
  return index < 0 ? index + count : index;
}

void compute_gather(const Call& call, std::span<const HostTensor> in, std::span<HostTensor> out) {
  const int axis = axis_of(call.node.integer("axis", 0), in[0].shape().rank());
  const Runs runs(in[0].shape(), axis, in[0].dtype());
  const Dims ids = in[1].integers("indexes");
  const std::int64_t count = in[0].shape()[axis];
  std::byte* to = out[0].writable();
  for (std::size_t i = 0; i < runs.outer; ++i)
    for (const std::int64_t id : ids) {
      const auto row =
          i * static_cast<std::size_t>(count) + static_cast<std::size_t>(checked_index(id, count));
      std::memcpy(to, in[0].data() + row * runs.inner, runs.inner);
      to += runs.inner;
    }
}

std::vector<Known> infer_gather_elements(const Call& call) {
  const Shape& from = call.shape(0);
  const Shape& ids = call.shape(1);
  ONNX_CHECK(call.in(1).dtype == DType::kI64 || call.in(1).dtype == DType::kI32, "indexes of type {}",
             dtype_name(call.in(1).dtype));
  ONNX_CHECK(from.rank() == ids.rank() && from.rank() > 0, "{} by {}", from.to_string(), ids.to_string());
  const int axis = axis_of(call.node.integer("axis", 0), from.rank());
  for (int d = 0; d < from.rank(); ++d)
    ONNX_CHECK(d == axis || ids[d] <= from[d], "{} by {}", from.to_string(), ids.to_string());
  return {{call.in(0).dtype, ids, {}}};
}

void compute_gather_elements(const Call& call, std::span<const HostTensor> in, std::span<HostTensor> out) {
  const int axis = axis_of(call.node.integer("axis", 0), in[0].shape().rank());
  const Dims ids = in[1].integers("indexes");
  const std::size_t size = dtype_size(in[0].dtype());
  const std::int64_t count = in[0].shape()[axis];
  Dims strides = dims_of(contiguous_strides(in[0].shape()));
  const std::int64_t along = strides[static_cast<std::size_t>(axis)];
  strides[static_cast<std::size_t>(axis)] = 0;
  for_each_element<1>(out[0].shape(), {Shape(strides)}, [&](std::int64_t i, const auto& at) {
    const std::int64_t from = at[0] + checked_index(ids[static_cast<std::size_t>(i)], count) * along;
    std::memcpy(out[0].writable() + static_cast<std::size_t>(i) * size,
                in[0].data() + static_cast<std::size_t>(from) * size, size);
  });
}

std::int64_t range_count(const Call& call) {
  const double start = call.number(0);
  const double step = call.number(2);
  ONNX_CHECK(step != 0.0, "a step of 0");
  const double count = std::max(0.0, std::ceil((call.number(1) - start) / step));
  ONNX_CHECK(count <= 1e9, "{} numbers", count);
  return static_cast<std::int64_t>(count);
}

std::vector<Known> infer_range(const Call& call) {
  return {{call.in(0).dtype, {range_count(call)}, {}}};
}

void compute_range(const Call&, std::span<const HostTensor> in, std::span<HostTensor> out) {
  const HostTensor start = in[0].aligned();
  const HostTensor step = in[2].aligned();
  ONNX_CHECK(start.dtype() == step.dtype(), "numbers of two types");
  with_host_type(start.dtype(), [&]<typename T>(T) {
    for (std::int64_t i = 0; i < out[0].elements(); ++i)
      out[0].fill<T>()[i] = static_cast<T>(static_cast<double>(*start.as<T>()) +
                                           static_cast<double>(i) * static_cast<double>(*step.as<T>()));
  });
}

std::vector<Known> infer_tile(const Call& call) {
  const Dims repeats = call.integers(1);
  Dims dims = dims_of(call.shape(0));
  ONNX_CHECK(repeats.size() == dims.size(), "{} numbers for {} dimensions", repeats.size(), dims.size());
  for (std::size_t i = 0; i < dims.size(); ++i) {
    ONNX_CHECK(repeats[i] >= 0 && repeats[i] <= (std::int64_t{1} << 31), "{} repeats", repeats[i]);
    ONNX_CHECK(dims[i] <= (std::int64_t{1} << 31), "an extent of {}", dims[i]);
    dims[i] *= repeats[i];
  }
  return {{call.in(0).dtype, checked_shape(dims), {}}};
}

void compute_tile(const Call&, std::span<const HostTensor> in, std::span<HostTensor> out) {
  const Shape own = contiguous_strides(in[0].shape());
  const Shape to = contiguous_strides(out[0].shape());
  const std::size_t size = dtype_size(in[0].dtype());
  for_each_element<1>(out[0].shape(), {to}, [&](std::int64_t i, const auto&) {
    std::int64_t rest = i;
    std::int64_t at = 0;
    for (int d = 0; d < to.rank(); ++d) {
      at += rest / to[d] % in[0].shape()[d] * own[d];
      rest %= to[d];
    }
    std::memcpy(out[0].writable() + static_cast<std::size_t>(i) * size,
                in[0].data() + static_cast<std::size_t>(at) * size, size);
  });
}

constexpr OperatorEntry kMovementOperators[] = {
    {"Concat", {infer_concat, compute_concat}},
    {"ConstantOfShape", {infer_constant_of_shape, compute_constant_of_shape}},
    {"Expand", {infer_expand, compute_expand}},
    {"Flatten", {infer_flatten, compute_same_elements}},
    {"Gather", {infer_gather, compute_gather}},
    {"GatherElements", {infer_gather_elements, compute_gather_elements}},
    {"Range", {infer_range, compute_range}},
    {"Reshape", {infer_reshape, compute_same_elements}},
    {"Shape", {infer_shape, nullptr}},
    {"Size", {infer_size, nullptr}},
    {"Slice", {infer_slice, compute_slice}},
    {"Split", {infer_split, compute_split}},
    {"Squeeze", {infer_squeeze, compute_same_elements}},
    {"Tile", {infer_tile, compute_tile}},
    {"Transpose", {infer_transpose, compute_transpose}},
    {"Unsqueeze", {infer_unsqueeze, compute_same_elements}},
};

}  // namespace

std::span<const OperatorEntry> movement_operators() {
  return kMovementOperators;
}

std::vector<SliceRange> slice_ranges(const Call& call) {
  const Shape& from = call.shape(0);
  const Dims starts = call.integers(1);
  const Dims ends = call.integers(2);
  Dims axes = call.has(3) ? call.integers(3) : Dims(starts.size());
  if (!call.has(3)) std::iota(axes.begin(), axes.end(), 0);
  const Dims steps = call.has(4) ? call.integers(4) : Dims(starts.size(), 1);
  ONNX_CHECK(starts.size() == ends.size() && axes.size() == starts.size() && steps.size() == starts.size(),
             "{} starts, {} ends, {} axes and {} steps", starts.size(), ends.size(), axes.size(),
             steps.size());
  std::vector<SliceRange> ranges;
  for (const std::int64_t extent : from.extents()) ranges.push_back({0, 1, extent});
  for (std::size_t i = 0; i < starts.size(); ++i) {
    const int axis = axis_of(axes[i], from.rank());
    ONNX_CHECK(from.rank() > 0, "an input without dimensions");
    const std::int64_t extent = from[axis];
    constexpr std::int64_t kFar = std::numeric_limits<std::int64_t>::max() / 4;
    const std::int64_t step = std::clamp(steps[i], -kFar, kFar);
    ONNX_CHECK(step != 0, "a step of 0");
    const auto inside = [&](std::int64_t at, std::int64_t low, std::int64_t high) {
      at = std::clamp(at, -kFar, kFar);
      return std::clamp(at < 0 ? at + extent : at, low, high);
    };
    SliceRange& range = ranges[static_cast<std::size_t>(axis)];
    range.step = step;
    if (step > 0) {
      range.start = inside(starts[i], 0, extent);
      const std::int64_t end = inside(ends[i], 0, extent);
      range.count = end > range.start ? (end - range.start - 1) / step + 1 : 0;
    } else {
      range.start = inside(starts[i], 0, extent - 1);
      // A negative end counts from the end of the axis; one that is far below means: down to the first.
      const std::int64_t end = inside(ends[i], -1, extent - 1);
      range.count = extent > 0 && range.start > end ? (range.start - end - 1) / -step + 1 : 0;
    }
    if (range.count <= 1) range.step = 1;
    if (range.count == 0) range.start = 0;
  }
  return ranges;
}

std::vector<std::int64_t> split_sizes(const Call& call) {
  const Shape& from = call.shape(0);
  ONNX_CHECK(from.rank() > 0, "an input without dimensions");
  const std::int64_t extent = from[axis_of(call.node.integer("axis", 0), from.rank())];
  Dims sizes = call.integers(1, "split");
  if (sizes.empty()) {
    // Even parts, the last one smaller where they do not divide.
    const auto parts = static_cast<std::int64_t>(call.node.outputs.size());
    const std::int64_t size = (extent + parts - 1) / parts;
    for (std::int64_t i = 0; i < parts; ++i)
      sizes.push_back(std::clamp<std::int64_t>(extent - i * size, 0, size));
  }
  std::int64_t total = 0;
  for (const std::int64_t size : sizes) {
    ONNX_CHECK(size >= 0 && size <= extent - total, "parts that are more than the {} elements", extent);
    total += size;
  }
  ONNX_CHECK(total == extent && sizes.size() == call.node.outputs.size(),
             "{} parts of {} elements for {} outputs of {}", sizes.size(), total, call.node.outputs.size(),
             extent);
  return sizes;
}

std::vector<int> transpose_order(const Call& call) {
  const int rank = call.shape(0).rank();
  std::vector<int> order;
  for (const std::int64_t axis : call.node.integers("perm")) order.push_back(axis_of(axis, rank));
  if (!call.node.has("perm"))
    for (int i = rank - 1; i >= 0; --i) order.push_back(i);
  std::vector<bool> seen(static_cast<std::size_t>(rank));
  for (const int axis : order) seen[static_cast<std::size_t>(axis)] = true;
  ONNX_CHECK(
      static_cast<int>(order.size()) == rank && std::find(seen.begin(), seen.end(), false) == seen.end(),
      "{} is no order of {} dimensions", fmt::join(order, ", "), rank);
  return order;
}

}  // namespace wan::onnx
