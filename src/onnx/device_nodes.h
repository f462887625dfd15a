#pragma once
// For the files that compute nodes on the device: their tables, and what they share.

#include "onnx/builder.h"
#include "onnx/device_functions.h"
#include "onnx/operators_common.h"
#include "ops/activation.h"
#include "ops/row_reduction.h"

namespace wan::onnx {

struct DeviceEntry {
  std::string_view name;
  BuildNode build;
};
std::span<const DeviceEntry> device_elementwise();
std::span<const DeviceEntry> device_movement();
std::span<const DeviceEntry> device_products();
std::span<const DeviceEntry> device_convolutions();

/// Runs kind on x, dense or not, into out of the same strides; out may be x.
void run_function(ExecContext& ctx, PointwiseKind kind, const TensorView& x, const TensorView& out);

/// Of a product that the function after it is a part of.
inline std::optional<PointwiseKind> fused_function(const Node& node) {
  if (!node.has("wan.activation")) return std::nullopt;
  return static_cast<PointwiseKind>(node.integer("wan.activation", 0));
}

/// kind(a, b), repeated to `shape`.
Placed build_pair(Builder& builder, PointwiseKind kind, const Placed& a, const Placed& b, const Shape& shape);

/// One value for each row of x [R, C], contiguous.
Placed build_reduction(Builder& builder, RowReductionKind kind, const Placed& x, std::span<const int> axes,
                       const Shape& shape);

}  // namespace wan::onnx
