#pragma once
// Linear: a weight and a bias as one callable thing. It owns nothing: the views come from a residency or a holder.

#include "ops/exec_context.h"
#include "ops/linear.h"
#include "ops/unpack.h"
#include "weights/weight_visitor.h"

namespace wan {

struct LinearShape {
  std::int64_t in;
  std::int64_t out;
  bool has_bias = true;
  WeightDType dtype = WeightDType::kCompute;  // of the weight
};

struct Linear {
  TensorView weight;  // [out, in], may be packed
  TensorView bias;    // [out] f32, may be empty

  void visit(const WeightVisitor& at, const LinearShape& shape) {
    at.tensor("weight", weight, {shape.out, shape.in}, shape.dtype);
    if (shape.has_bias) at.tensor("bias", bias, {shape.out}, WeightDType::kFloat32);
  }

  /// out [M, out features] = activation(x weight^T + bias). A packed weight is unpacked into ctx.unpacked for the call.
  void operator()(ExecContext& ctx, const TensorView& x, const TensorView& out,
                  ActivationKind activation = ActivationKind::kNone) const {
    const Workspace::Scope scope(ctx.workspace);
    linear(ctx, {.x = x, .weight = unpacked(ctx), .bias = bias, .out = out, .activation = activation});
  }

 private:
  TensorView unpacked(ExecContext& ctx) const {
    if (!is_packed(weight.dtype())) return weight;
    const TensorView values = ctx.workspace.take(ctx.unpacked, weight.shape());
    unpack(ctx, {.packed = weight, .out = values});
    return values;
  }
};

}  // namespace wan
