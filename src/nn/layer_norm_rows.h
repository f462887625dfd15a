#pragma once
// The layer norm of image and sound encoders: rows with a weight and a bias of their own.

#include "ops/exec_context.h"
#include "weights/weight_visitor.h"

namespace wan {

struct LayerNormWeights {
  TensorView weight, bias;  // [channels] f32

  void visit(const WeightVisitor& at, std::int64_t channels) {
    at.tensor("weight", weight, {channels}, WeightDType::kFloat32);
    at.tensor("bias", bias, {channels}, WeightDType::kFloat32);
  }
};

/// out = x normalized over its channels; [n, channels] each, as layer_norm() takes them.
void norm_rows(ExecContext& ctx, const LayerNormWeights& weights, float eps, const TensorView& x,
               const TensorView& out);

}  // namespace wan
