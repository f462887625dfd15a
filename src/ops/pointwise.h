#pragma once
// A function of one or two values, element by element, with broadcasting by strides of 0.

#include "ops/exec_context.h"

namespace wan {

enum class PointwiseKind {
  // of two
  kAdd,
  kSub,
  kMul,
  kDiv,
  kPow,
  kMin,  // NaN where either is
  kMax,
  // of one
  kRelu,     // max(x, 0)
  kSigmoid,  // 1 / (1 + exp(-x))
  kSiLU,     // x sigmoid(x)
  kGelu,     // x Phi(x)
  kGeluTanh,
  kTanh,
  kErf,
  kSqrt,
  kExp,
  kLog,
  kNeg,
  kAbs,
  kFloor,
  kCeil,
  kReciprocal,
};

constexpr bool takes_two(PointwiseKind kind) {
  return kind <= PointwiseKind::kMax;
}

/// The scalar function, in double; y is ignored by those of one.
double apply_pointwise(PointwiseKind kind, double x, double y);

/// out = kind(x, y). x, y and out f32 of one shape, any strides, those of x and y 0 where a value is repeated; y is empty for
/// functions of one. out may be x or y where the strides are the same. Computed in f32.
struct PointwiseArgs {
  PointwiseKind kind;
  TensorView x;
  TensorView y;
  TensorView out;

  static void visit_views(auto& args, auto&& visit) {
    for (auto* view : {&args.x, &args.y, &args.out}) visit(*view);
  }
};

/// The loops of a pointwise op: as few as possible, the one in which the result is densest last.
struct PointwisePlan {
  struct Axis {
    std::int64_t size, x, y, out;  // strides in elements
  };
  std::array<Axis, Shape::kMaxRank> axes;
  int rank = 0;  // 1 at least
  std::int64_t count = 0;
};
PointwisePlan pointwise_plan(const PointwiseArgs& args);

void validate(const PointwiseArgs& args);
void reference(const PointwiseArgs& args);
void pointwise(ExecContext& ctx, const PointwiseArgs& args);

}  // namespace wan
