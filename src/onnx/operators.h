#pragma once
// What each operator of ONNX makes of its inputs' shapes, and the host's way of computing it.

#include <span>
#include <string_view>
#include <vector>

#include "onnx/graph.h"

namespace wan::onnx {

/// What is known of a value before anything runs.
struct Known {
  DType dtype = DType::kF32;
  Shape shape;
  HostTensor constant;  // empty where it depends on an input
};

/// A node with what is known of its inputs; nullptr for those that are left out.
struct Call {
  const Node& node;
  int opset;
  std::vector<const Known*> inputs;

  bool has(std::size_t index) const { return index < inputs.size() && inputs[index] != nullptr; }
  /// Throw BadFile where the input is left out.
  const Known& in(std::size_t index) const;
  const Shape& shape(std::size_t index) const { return in(index).shape; }
  /// Integers of an input that must be a constant, for the result's shape follows from it. Throws BadFile.
  std::vector<std::int64_t> integers(std::size_t index) const;
  double number(std::size_t index) const;
  /// Those of an input where it is there, or else of an attribute: axes moved from one to the other with a version.
  std::vector<std::int64_t> integers(std::size_t index, const char* attribute) const;
};

/// An axis of `rank` dimensions, negative ones counted from the end. Throws BadFile.
int axis_of(std::int64_t axis, int rank);

/// An operator, in all versions that are known.
struct Operator {
  /// One for each output. Throws BadFile where inputs do not fit.
  std::vector<Known> (*infer)(const Call& call);
  /// Computes outputs, which have their dtypes and shapes and hold zeros. nullptr: a device does it. Throws InvalidArgument for
  /// values (indexes, divisors) that are out of range.
  void (*compute)(const Call& call, std::span<const HostTensor> inputs, std::span<HostTensor> outputs);
};

/// nullptr for an operator that is not known.
const Operator* find_operator(std::string_view op);

/// Shape of both, each of whose dimensions of one element is repeated. Throws BadFile.
Shape broadcast(const Shape& a, const Shape& b);
/// Strides in elements by which a row-major tensor of shape `from` is read as one of shape `to`.
Shape broadcast_strides(const Shape& from, const Shape& to);

/// A slice along each axis of the input, with the starts inside of it.
struct SliceRange {
  std::int64_t start = 0;
  std::int64_t step = 1;
  std::int64_t count = 0;
};
std::vector<SliceRange> slice_ranges(const Call& call);

/// Sizes of a Split's parts.
std::vector<std::int64_t> split_sizes(const Call& call);
/// Axes of a reduction, ascending; all where none are named. Empty where it does nothing.
std::vector<int> reduced_axes(const Call& call);
/// The order that a Transpose puts axes in.
std::vector<int> transpose_order(const Call& call);
/// First of the axes that a softmax takes together with all after it: the last of the axes before opset 13.
int softmax_axis(const Call& call);
bool softmax_flattens(const Call& call);

/// Sizes of a convolution, a transposed one or a pooling window over two axes.
struct Window {
  std::int64_t kernel[2], stride[2], dilation[2], before[2], after[2];
  std::int64_t extra[2];  // output_padding of a transposed convolution
};
/// `transposed`: of ConvTranspose. Throws BadFile where the input is no picture or a number out of its range.
Window window_of(const Call& call, std::int64_t kernel_height, std::int64_t kernel_width, bool transposed);

/// Where each output element of an axis comes from in a Resize, as weights of neighbours.
struct ResizeAxis {
  std::int64_t in = 0, out = 0;
  std::vector<std::int64_t> first;  // [out]: the one source, or the lower of two
  std::vector<float> weight;        // [out]: of the upper of two; empty for nearest
};
std::vector<ResizeAxis> resize_axes(const Call& call);

}  // namespace wan::onnx
