// Reductions, softmax and the largest elements.

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "onnx/operators_common.h"

namespace wan::onnx {

namespace {

std::vector<Known> infer_reduce(const Call& call) {
  const Shape& from = call.shape(0);
  const std::vector<int> axes = reduced_axes(call);
  const bool keep = call.node.integer("keepdims", 1) != 0;
  std::vector<std::int64_t> dims;
  for (int d = 0; d < from.rank(); ++d) {
    const bool reduced = std::find(axes.begin(), axes.end(), d) != axes.end();
    ONNX_CHECK(!reduced || from[d] > 0, "no elements in {}", from.to_string());
    if (!reduced) dims.push_back(from[d]);
    if (reduced && keep) dims.push_back(1);
  }
  return {{call.in(0).dtype, checked_shape(dims), {}}};
}

struct MaxFold {
  static double first() { return -std::numeric_limits<double>::infinity(); }
  static double fold(double sum, double x) { return std::isnan(x) ? x : std::max(sum, x); }
  static double last(double sum, double) { return sum; }
};
struct MinFold {
  static double first() { return std::numeric_limits<double>::infinity(); }
  static double fold(double sum, double x) { return std::isnan(x) ? x : std::min(sum, x); }
  static double last(double sum, double) { return sum; }
};
struct SumFold {
  static double first() { return 0.0; }
  static double fold(double sum, double x) { return sum + x; }
  static double last(double sum, double) { return sum; }
};
struct MeanFold {
  static double first() { return 0.0; }
  static double fold(double sum, double x) { return sum + x; }
  static double last(double sum, double count) { return sum / count; }
};
struct ProdFold {
  static double first() { return 1.0; }
  static double fold(double sum, double x) { return sum * x; }
  static double last(double sum, double) { return sum; }
};

/// Integers up to 2^53 are exact in double: counts and sizes.
template <typename F>
void compute_reduce(const Call& call, std::span<const HostTensor> in, std::span<HostTensor> out) {
  const HostTensor x = in[0].aligned();
  const Shape& from = x.shape();
  const std::vector<int> axes = reduced_axes(call);
  // The result's strides along the input's axes: 0 where they are reduced.
  std::vector<std::int64_t> strides(static_cast<std::size_t>(from.rank()));
  std::int64_t step = 1;
  std::int64_t folded = 1;
  for (int d = from.rank() - 1; d >= 0; --d) {
    if (std::find(axes.begin(), axes.end(), d) != axes.end()) {
      folded *= from[d];
    } else {
      strides[static_cast<std::size_t>(d)] = step;
      step *= from[d];
    }
  }
  std::vector<double> sums(static_cast<std::size_t>(out[0].elements()), F::first());
  const bool known = with_host_type(x.dtype(), [&]<typename T>(T) {
    for_each_element<1>(from, {Shape(strides)}, [&](std::int64_t i, const auto& at) {
      double& sum = sums[static_cast<std::size_t>(at[0])];
      sum = F::fold(sum, static_cast<double>(x.as<T>()[i]));
    });
    for (std::size_t i = 0; i < sums.size(); ++i) {
      const double value = F::last(sums[i], static_cast<double>(folded));
      if constexpr (std::is_integral_v<T>)
        WAN_CHECK(std::fabs(value) < 9e15, kInvalidArgument, "a reduction of integers that are too large");
      out[0].fill<T>()[i] = static_cast<T>(value);
    }
  });
  ONNX_CHECK(known, "values of type {} are not taken", dtype_name(x.dtype()));
}

std::vector<Known> infer_softmax(const Call& call) {
  softmax_axis(call);
  ONNX_CHECK(is_floating(call.in(0).dtype), "values of type {}", dtype_name(call.in(0).dtype));
  return {{call.in(0).dtype, call.shape(0), {}}};
}

void compute_softmax(const Call& call, std::span<const HostTensor> in, std::span<HostTensor> out) {
  const HostTensor x = in[0].aligned();
  const Shape& shape = x.shape();
  const int axis = softmax_axis(call);
  std::int64_t length = shape[axis];
  std::int64_t inner = 1;
  for (int d = axis + 1; d < shape.rank(); ++d) (softmax_flattens(call) ? length : inner) *= shape[d];
  if (x.elements() == 0) return;
  const std::int64_t outer = x.elements() / (length * inner);
  const bool known = with_host_type(x.dtype(), [&]<typename T>(T) {
    for (std::int64_t o = 0; o < outer; ++o)
      for (std::int64_t i = 0; i < inner; ++i) {
        const T* from = x.as<T>() + o * length * inner + i;
        T* to = out[0].fill<T>() + o * length * inner + i;
        double highest = -std::numeric_limits<double>::infinity();
        for (std::int64_t k = 0; k < length; ++k)
          highest = std::max(highest, static_cast<double>(from[k * inner]));
        double sum = 0.0;
        for (std::int64_t k = 0; k < length; ++k)
          sum += std::exp(static_cast<double>(from[k * inner]) - highest);
        for (std::int64_t k = 0; k < length; ++k)
          if constexpr (std::is_floating_point_v<T>)
            to[k * inner] = static_cast<T>(std::exp(static_cast<double>(from[k * inner]) - highest) / sum);
      }
  });
  ONNX_CHECK(known, "values of type {} are not taken", dtype_name(x.dtype()));
}

int along_axis(const Call& call, std::int64_t otherwise) {
  ONNX_CHECK(call.shape(0).rank() > 0, "an input without dimensions");
  return axis_of(call.node.integer("axis", otherwise), call.shape(0).rank());
}

std::vector<Known> infer_top_k(const Call& call) {
  const Shape& from = call.shape(0);
  const int axis = along_axis(call, -1);
  const std::vector<std::int64_t> k = call.integers(1);
  ONNX_CHECK(k.size() == 1 && k[0] >= 0 && k[0] <= from[axis], "the {} largest of {}", k.empty() ? -1 : k[0],
             from[axis]);
  std::vector<std::int64_t> dims = dims_of(from);
  dims[static_cast<std::size_t>(axis)] = k[0];
  const Shape shape = checked_shape(dims);
  return {{call.in(0).dtype, shape, {}}, {DType::kI64, shape, {}}};
}

/// In order of their values, equal ones in that of their indexes, NaN as the largest.
void compute_top_k(const Call& call, std::span<const HostTensor> in, std::span<HostTensor> out) {
  const HostTensor x = in[0].aligned();
  const int axis = along_axis(call, -1);
  const bool largest = call.node.integer("largest", 1) != 0;
  const Shape& shape = x.shape();
  const std::int64_t length = shape[axis];
  const std::int64_t kept = out[0].shape()[axis];
  std::int64_t inner = 1;
  for (int d = axis + 1; d < shape.rank(); ++d) inner *= shape[d];
  std::int64_t outer = 1;
  for (int d = 0; d < axis; ++d) outer *= shape[d];
  std::vector<std::int64_t> order(static_cast<std::size_t>(length));
  const bool known = with_host_type(x.dtype(), [&]<typename T>(T) {
    for (std::int64_t o = 0; o < outer; ++o)
      for (std::int64_t i = 0; i < inner; ++i) {
        const T* from = x.as<T>() + o * length * inner + i;
        const auto above = [&](std::int64_t a, std::int64_t b) {
          const T u = from[a * inner];
          const T v = from[b * inner];
          if constexpr (std::is_floating_point_v<T>)
            if (std::isnan(u) != std::isnan(v)) return std::isnan(u) == largest;
          if (u > v) return largest;
          if (u < v) return !largest;
          return a < b;
        };
        std::iota(order.begin(), order.end(), 0);
        std::partial_sort(order.begin(), order.begin() + kept, order.end(), above);
        for (std::int64_t k = 0; k < kept; ++k) {
          const std::int64_t to = (o * kept + k) * inner + i;
          const std::int64_t chosen = order[static_cast<std::size_t>(k)];
          if (out[0]) out[0].fill<T>()[to] = from[chosen * inner];
          if (out.size() > 1) out[1].fill<std::int64_t>()[to] = chosen;
        }
      }
  });
  ONNX_CHECK(known, "values of type {} are not taken", dtype_name(x.dtype()));
}

std::vector<Known> infer_arg_max(const Call& call) {
  const int axis = along_axis(call, 0);
  ONNX_CHECK(call.node.integer("select_last_index", 0) == 0, "the last of equal elements");
  std::vector<std::int64_t> dims = dims_of(call.shape(0));
  ONNX_CHECK(dims[static_cast<std::size_t>(axis)] > 0, "no elements in {}", call.shape(0).to_string());
  dims[static_cast<std::size_t>(axis)] = 1;
  if (call.node.integer("keepdims", 1) == 0) dims.erase(dims.begin() + axis);
  return {{DType::kI64, checked_shape(dims), {}}};
}

void compute_arg_max(const Call& call, std::span<const HostTensor> in, std::span<HostTensor> out) {
  const HostTensor x = in[0].aligned();
  const int axis = along_axis(call, 0);
  const std::int64_t length = x.shape()[axis];
  std::int64_t inner = 1;
  for (int d = axis + 1; d < x.shape().rank(); ++d) inner *= x.shape()[d];
  const bool known = with_host_type(x.dtype(), [&]<typename T>(T) {
    for (std::int64_t r = 0; r < out[0].elements(); ++r) {
      const T* from = x.as<T>() + r / inner * length * inner + r % inner;
      std::int64_t best = 0;
      for (std::int64_t k = 1; k < length; ++k)
        if (from[k * inner] > from[best * inner]) best = k;
      out[0].fill<std::int64_t>()[r] = best;
    }
  });
  ONNX_CHECK(known, "values of type {} are not taken", dtype_name(x.dtype()));
}

constexpr OperatorEntry kSelectionOperators[] = {
    {"ArgMax", {infer_arg_max, compute_arg_max}},
    {"ReduceMax", {infer_reduce, compute_reduce<MaxFold>}},
    {"ReduceMean", {infer_reduce, compute_reduce<MeanFold>}},
    {"ReduceMin", {infer_reduce, compute_reduce<MinFold>}},
    {"ReduceProd", {infer_reduce, compute_reduce<ProdFold>}},
    {"ReduceSum", {infer_reduce, compute_reduce<SumFold>}},
    {"Softmax", {infer_softmax, compute_softmax}},
    {"TopK", {infer_top_k, compute_top_k}},
};

}  // namespace

std::span<const OperatorEntry> selection_operators() {
  return kSelectionOperators;
}

std::vector<int> reduced_axes(const Call& call) {
  const int rank = call.shape(0).rank();
  std::vector<int> axes;
  for (const std::int64_t axis : call.integers(1, "axes")) axes.push_back(axis_of(axis, rank));
  std::sort(axes.begin(), axes.end());
  axes.erase(std::unique(axes.begin(), axes.end()), axes.end());
  if (axes.empty() && call.node.integer("noop_with_empty_axes", 0) == 0)
    for (int d = 0; d < rank; ++d) axes.push_back(d);
  if (rank == 0) axes.clear();
  return axes;
}

bool softmax_flattens(const Call& call) {
  return call.opset < 13;
}

int softmax_axis(const Call& call) {
  return along_axis(call, softmax_flattens(call) ? 1 : -1);
}

}  // namespace wan::onnx
