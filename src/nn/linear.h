#pragma once
// Linear: a weight and a bias as one callable thing, alone or several together. It owns nothing: the views come from a residency or a
// holder.

#include <initializer_list>

#include "nn/unpacked_weight.h"
#include "ops/exec_context.h"
#include "ops/linear_group.h"
#include "weights/weight_visitor.h"

namespace wan {

struct LinearShape {
  std::int64_t in;
  std::int64_t out;
  bool has_bias = true;
  WeightDType dtype = WeightDType::kCompute;  // of the weight
};

struct Linear {
  TensorView weight;           // [out, in], may be packed
  TensorView bias;             // [out] f32, may be empty
  LowRankViews addition = {};  // of a packed weight; may be empty

  void visit(const WeightVisitor& at, const LinearShape& shape) {
    at.tensor("weight", weight, {shape.out, shape.in}, shape.dtype, &addition);
    if (shape.has_bias) at.tensor("bias", bias, {shape.out}, WeightDType::kFloat32);
  }

  /// out [M, out features] = activation(x weight^T + bias). A packed weight is unpacked into ctx.unpacked for the call.
  void operator()(ExecContext& ctx, const TensorView& x, const TensorView& out,
                  ActivationKind activation = ActivationKind::kNone) const {
    const Workspace::Scope scope(ctx.workspace);
    const TensorView values = is_packed(weight.dtype()) ? take_unpacked(ctx, weight, addition) : weight;
    linear(ctx, {.x = x, .weight = values, .bias = bias, .out = out, .activation = activation});
  }

  /// What gives the features [first, last) of the result.
  Linear rows(std::int64_t first, std::int64_t last) const {
    const auto part = [&](const TensorView& all) { return all.empty() ? all : all.slice(0, first, last); };
    return {weight.slice(0, first, last), part(bias), {part(addition.up), addition.down}};
  }
};

struct LinearOut {
  const Linear& linear;
  TensorView out;
};

/// Several of the same x, at once where none is packed. With a gate, of two: LinearGroupArgs::gate.
inline void run_together(ExecContext& ctx, const TensorView& x, std::initializer_list<LinearOut> all,
                         ActivationKind gate = ActivationKind::kNone) {
  LinearGroupArgs group{.products = {}, .gate = gate};
  std::size_t count = 0;
  bool packed = false;
  for (const auto& [linear, out] : all) {
    group.products.at(count++) = {.x = x, .weight = linear.weight, .bias = linear.bias, .out = out};
    packed = packed || is_packed(linear.weight.dtype());
  }
  if (!packed) return linear_group(ctx, group);
  for (const auto& [linear, out] : all) linear(ctx, x, out);
  if (group.is_gated()) gated_activation(ctx, group.gating());
}

}  // namespace wan
