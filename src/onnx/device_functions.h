#pragma once
// What ONNX's operators are called among our ops.

#include <optional>

#include "onnx/operators.h"
#include "ops/pointwise.h"

namespace wan::onnx {

/// The function of one or of two values that an operator is; nothing where it is none.
std::optional<PointwiseKind> function_of_one(const Node& node);
std::optional<PointwiseKind> function_of_two(const Node& node);

/// What a BatchNormalization multiplies each channel by and adds to it.
struct BatchScale {
  HostTensor factor, addend;  // [C] f32
};
BatchScale batch_scale(const Call& call);

}  // namespace wan::onnx
