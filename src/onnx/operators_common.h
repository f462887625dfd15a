#pragma once
// For the files with operators: checks, and loops over elements.

#include <array>
#include <cstring>

#include "base/error.h"
#include "onnx/operators.h"

namespace wan::onnx {

/// BadFile with a formatted reason; the session puts the node before it.
#define ONNX_CHECK(condition, ...) WAN_CHECK(condition, kBadFile, __VA_ARGS__)

using Infer = std::vector<Known> (*)(const Call& call);
using Compute = void (*)(const Call& call, std::span<const HostTensor> inputs, std::span<HostTensor> outputs);
struct OperatorEntry {
  std::string_view name;
  Operator op;
};
std::span<const OperatorEntry> elementwise_operators();
std::span<const OperatorEntry> movement_operators();
std::span<const OperatorEntry> selection_operators();
std::span<const OperatorEntry> network_operators();

/// A shape of these extents; throws BadFile for more than six of them, negative ones, or too many elements.
Shape checked_shape(std::span<const std::int64_t> dims);

inline std::vector<std::int64_t> dims_of(const Shape& shape) {
  return {shape.extents().begin(), shape.extents().end()};
}

/// visit(flat index, offset a, offset b, ...) over a shape in row-major order, offsets by strides for each of N operands.
template <std::size_t N, typename Visit>
void for_each_element(const Shape& shape, const std::array<Shape, N>& strides, Visit&& visit) {
  const std::int64_t count = shape.elements();
  std::array<std::int64_t, Shape::kMaxRank> index{};
  std::array<std::int64_t, N> offsets{};
  for (std::int64_t i = 0; i < count; ++i) {
    visit(i, offsets);
    for (int d = shape.rank() - 1; d >= 0; --d) {
      const auto at = static_cast<std::size_t>(d);
      ++index[at];
      for (std::size_t n = 0; n < N; ++n) offsets[n] += strides[n][d];
      if (index[at] < shape[d]) break;
      for (std::size_t n = 0; n < N; ++n) offsets[n] -= strides[n][d] * shape[d];
      index[at] = 0;
    }
  }
}

/// Copies elements of any dtype: out[i] = from[offset + sum_d index_d strides_d].
void gather_strided(const HostTensor& from, std::int64_t offset, const Shape& strides, HostTensor& out);

}  // namespace wan::onnx
