#include "onnx/operators.h"

#include <algorithm>
#include <unordered_map>

#include "base/untrusted_text.h"
#include "onnx/operators_common.h"
#include "onnx/tensor_reader.h"

namespace wan::onnx {

const Known& Call::in(std::size_t index) const {
  ONNX_CHECK(has(index), "input {} is missing", index);
  return *inputs[index];
}

std::vector<std::int64_t> Call::integers(std::size_t index) const {
  const Known& input = in(index);
  ONNX_CHECK(static_cast<bool>(input.constant),
             "its shape depends on the values of {}; export the model with fixed sizes",
             quote_name(node.inputs[index]));
  ONNX_CHECK(input.constant.elements() <= 65536, "{} has {} numbers", quote_name(node.inputs[index]),
             input.constant.elements());
  return input.constant.integers(quote_name(node.inputs[index]));
}

double Call::number(std::size_t index) const {
  const Known& input = in(index);
  ONNX_CHECK(static_cast<bool>(input.constant), "{} is not a constant; export the model with fixed sizes",
             quote_name(node.inputs[index]));
  return input.constant.number();
}

std::vector<std::int64_t> Call::integers(std::size_t index, const char* attribute) const {
  return has(index) ? integers(index) : node.integers(attribute);
}

int axis_of(std::int64_t axis, int rank) {
  ONNX_CHECK(axis >= -rank && axis < std::max(rank, 1), "axis {} of {} dimensions", axis, rank);
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

Shape checked_shape(std::span<const std::int64_t> dims) {
  return shape_of(dims, "shape");
}

const Operator* find_operator(std::string_view op) {
  static const auto table = [] {
    std::unordered_map<std::string_view, Operator> made;
    for (const auto entries :
         {elementwise_operators(), movement_operators(), selection_operators(), network_operators()})
      for (const OperatorEntry& entry : entries) made.emplace(entry.name, entry.op);
    return made;
  }();
  const auto found = table.find(op);
  return found != table.end() ? &found->second : nullptr;
}

Shape broadcast(const Shape& a, const Shape& b) {
  const int rank = std::max(a.rank(), b.rank());
  std::vector<std::int64_t> dims(static_cast<std::size_t>(rank));
  for (int i = 0; i < rank; ++i) {
    const int in_a = i - (rank - a.rank());
    const int in_b = i - (rank - b.rank());
    const std::int64_t x = in_a < 0 ? 1 : a[in_a];
    const std::int64_t y = in_b < 0 ? 1 : b[in_b];
    ONNX_CHECK(x == y || x == 1 || y == 1, "shapes {} and {} do not fit each other", a.to_string(),
               b.to_string());
    dims[static_cast<std::size_t>(i)] = x == 1 ? y : x;
  }
  return checked_shape(dims);
}

Shape broadcast_strides(const Shape& from, const Shape& to) {
  const Shape own = contiguous_strides(from);
  std::vector<std::int64_t> strides(static_cast<std::size_t>(to.rank()));
  for (int i = 0; i < from.rank(); ++i)
    strides[static_cast<std::size_t>(i + to.rank() - from.rank())] = from[i] == 1 ? 0 : own[i];
  return Shape(strides);
}

void gather_strided(const HostTensor& from, std::int64_t offset, const Shape& strides, HostTensor& out) {
  const auto copy = [&]<typename T>(T) {
    // By memcpy, for mapped values may lie anywhere.
    const std::byte* source = from.data() + offset * static_cast<std::int64_t>(sizeof(T));
    T* to = out.fill<T>();
    for_each_element<1>(out.shape(), {strides}, [&](std::int64_t i, const auto& at) {
      std::memcpy(to + i, source + at[0] * static_cast<std::int64_t>(sizeof(T)), sizeof(T));
    });
  };
  switch (dtype_size(from.dtype())) {
    case 1:
      return copy(std::uint8_t{});
    case 2:
      return copy(std::uint16_t{});
    case 4:
      return copy(std::uint32_t{});
    default:
      return copy(std::uint64_t{});
  }
}

}  // namespace wan::onnx
