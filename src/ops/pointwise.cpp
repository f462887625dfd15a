#include "ops/pointwise.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "ops/activation.h"
#include "ops/dispatch.h"

namespace wan {

double apply_pointwise(PointwiseKind kind, double x, double y) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  switch (kind) {
    case PointwiseKind::kAdd:
      return x + y;
    case PointwiseKind::kSub:
      return x - y;
    case PointwiseKind::kMul:
      return x * y;
    case PointwiseKind::kDiv:
      return x / y;
    case PointwiseKind::kPow:
      return std::pow(x, y);
    case PointwiseKind::kMin:
      return std::isnan(x) || std::isnan(y) ? kNan : std::min(x, y);
    case PointwiseKind::kMax:
      return std::isnan(x) || std::isnan(y) ? kNan : std::max(x, y);
    case PointwiseKind::kRelu:
      return x < 0.0 ? 0.0 : x;
    case PointwiseKind::kSigmoid:
      return 1.0 / (1.0 + std::exp(-x));
    case PointwiseKind::kSiLU:
      return apply_activation(ActivationKind::kSiLU, x);
    case PointwiseKind::kGelu:
      return apply_activation(ActivationKind::kGelu, x);
    case PointwiseKind::kGeluTanh:
      return apply_activation(ActivationKind::kGeluTanh, x);
    case PointwiseKind::kTanh:
      return std::tanh(x);
    case PointwiseKind::kErf:
      return std::erf(x);
    case PointwiseKind::kSqrt:
      return std::sqrt(x);
    case PointwiseKind::kExp:
      return std::exp(x);
    case PointwiseKind::kLog:
      return std::log(x);
    case PointwiseKind::kNeg:
      return -x;
    case PointwiseKind::kAbs:
      return std::fabs(x);
    case PointwiseKind::kFloor:
      return std::floor(x);
    case PointwiseKind::kCeil:
      return std::ceil(x);
    case PointwiseKind::kReciprocal:
      return 1.0 / x;
  }
  return kNan;
}

PointwisePlan pointwise_plan(const PointwiseArgs& args) {
  std::vector<PointwisePlan::Axis> axes;
  for (int d = 0; d < args.out.rank(); ++d)
    if (args.out.dim(d) != 1)
      axes.push_back({args.out.dim(d), args.x.stride(d), args.y ? args.y.stride(d) : 0, args.out.stride(d)});
  std::stable_sort(axes.begin(), axes.end(), [](const auto& a, const auto& b) { return a.out > b.out; });
  PointwisePlan plan;
  plan.count = args.out.elements();
  for (const auto& axis : axes) {
    if (plan.rank > 0) {
      auto& outer = plan.axes[static_cast<std::size_t>(plan.rank - 1)];
      if (outer.x == axis.size * axis.x && outer.y == axis.size * axis.y &&
          outer.out == axis.size * axis.out) {
        outer = {outer.size * axis.size, axis.x, axis.y, axis.out};
        continue;
      }
    }
    plan.axes[static_cast<std::size_t>(plan.rank++)] = axis;
  }
  if (plan.rank == 0) plan.axes[static_cast<std::size_t>(plan.rank++)] = {1, 0, 0, 1};
  return plan;
}

void validate(const PointwiseArgs& args) {
  constexpr const char* kOp = "pointwise";
  check_shape(kOp, "x", args.x, args.out.shape());
  WAN_CHECK(args.x.dtype() == DType::kF32 && args.out.dtype() == DType::kF32, kInternal,
            "[{}] values must be f32", kOp);
  WAN_CHECK(takes_two(args.kind) == static_cast<bool>(args.y), kInternal, "[{}] one or two inputs", kOp);
  if (!args.y) return;
  check_shape(kOp, "y", args.y, args.out.shape());
  WAN_CHECK(args.y.dtype() == DType::kF32, kInternal, "[{}] y must be f32", kOp);
}

void reference(const PointwiseArgs& args) {
  const PointwisePlan plan = pointwise_plan(args);
  const float* x = args.x.as<float>();
  const float* y = args.y ? args.y.as<float>() : nullptr;
  float* out = args.out.as<float>();
  for (std::int64_t i = 0; i < plan.count; ++i) {
    std::int64_t rest = i;
    std::int64_t at_x = 0;
    std::int64_t at_y = 0;
    std::int64_t at_out = 0;
    for (int d = plan.rank - 1; d >= 0; --d) {
      const auto& axis = plan.axes[static_cast<std::size_t>(d)];
      at_x += rest % axis.size * axis.x;
      at_y += rest % axis.size * axis.y;
      at_out += rest % axis.size * axis.out;
      rest /= axis.size;
    }
    out[at_out] = static_cast<float>(apply_pointwise(args.kind, static_cast<double>(x[at_x]),
                                                     y != nullptr ? static_cast<double>(y[at_y]) : 0.0));
  }
}

void pointwise(ExecContext& ctx, const PointwiseArgs& args) {
  validate(args);
  dispatch(ctx, "pointwise", args);
}

}  // namespace wan
