#include "ops/pointwise.h"

#include <cmath>

#include "backends/cpu/backend_impl.h"
#include "backends/cpu/parallel_for.h"

namespace wan {

namespace {

/// One innermost loop; the usual layouts (dense, or one value repeated) in loops of their own, which compilers make vectors of.
template <typename F>
void pointwise_row(const PointwisePlan::Axis& axis, const float* x, const float* y, float* out, F f) {
  const std::int64_t n = axis.size;
  if (axis.out == 1 && axis.x == 1 && axis.y == 1) {
    for (std::int64_t i = 0; i < n; ++i) out[i] = f(x[i], y[i]);
  } else if (axis.out == 1 && axis.x == 1 && axis.y == 0) {
    const float fixed = *y;
    for (std::int64_t i = 0; i < n; ++i) out[i] = f(x[i], fixed);
  } else if (axis.out == 1 && axis.x == 0 && axis.y == 1) {
    const float fixed = *x;
    for (std::int64_t i = 0; i < n; ++i) out[i] = f(fixed, y[i]);
  } else {
    for (std::int64_t i = 0; i < n; ++i) out[i * axis.out] = f(x[i * axis.x], y[i * axis.y]);
  }
}

template <typename F>
void run_pointwise(int threads, const PointwiseArgs& args, F f) {
  PointwisePlan plan = pointwise_plan(args);
  const auto axis = [&](int d) -> PointwisePlan::Axis& { return plan.axes[static_cast<std::size_t>(d)]; };
  const float* x = args.x.as<float>();
  const float* y = args.y ? args.y.as<float>() : x;
  float* out = args.out.as<float>();
  // One long row is divided among threads as well.
  constexpr std::int64_t kPiece = 1 << 14;
  PointwisePlan::Axis& last = axis(plan.rank - 1);
  const std::int64_t whole = last.size;
  const std::int64_t rows = plan.count / whole;
  const std::int64_t pieces = (whole + kPiece - 1) / kPiece;
  for_each_row(threads, rows * pieces, std::min(whole, kPiece), [&, plan](std::int64_t index) {
    const std::int64_t begin = index % pieces * kPiece;
    std::int64_t rest = index / pieces;
    PointwisePlan::Axis part = plan.axes[static_cast<std::size_t>(plan.rank - 1)];
    part.size = std::min(kPiece, whole - begin);
    std::int64_t at_x = begin * part.x;
    std::int64_t at_y = begin * part.y;
    std::int64_t at_out = begin * part.out;
    for (int d = plan.rank - 2; d >= 0; --d) {
      const auto& outer = plan.axes[static_cast<std::size_t>(d)];
      at_x += rest % outer.size * outer.x;
      at_y += rest % outer.size * outer.y;
      at_out += rest % outer.size * outer.out;
      rest /= outer.size;
    }
    pointwise_row(part, x + at_x, y + at_y, out + at_out, f);
  });
}

}  // namespace

bool has_kernel(const CpuBackend&, const PointwiseArgs&) {
  return true;
}

void run_kernel(CpuBackend& cpu, ExecContext&, const PointwiseArgs& args) {
  if (args.out.elements() == 0) return;
  const int threads = cpu.threads();
  switch (args.kind) {
    case PointwiseKind::kAdd:
      return run_pointwise(threads, args, [](float x, float y) { return x + y; });
    case PointwiseKind::kSub:
      return run_pointwise(threads, args, [](float x, float y) { return x - y; });
    case PointwiseKind::kMul:
      return run_pointwise(threads, args, [](float x, float y) { return x * y; });
    case PointwiseKind::kDiv:
      return run_pointwise(threads, args, [](float x, float y) { return x / y; });
    case PointwiseKind::kPow:
      return run_pointwise(threads, args,
                           [](float x, float y) { return y == 2.0f ? x * x : std::pow(x, y); });
    case PointwiseKind::kMin:
      return run_pointwise(threads, args, [](float x, float y) { return x < y || x != x ? x : y; });
    case PointwiseKind::kMax:
      return run_pointwise(threads, args, [](float x, float y) { return x > y || x != x ? x : y; });
    case PointwiseKind::kRelu:
      return run_pointwise(threads, args, [](float x, float) { return x < 0.0f ? 0.0f : x; });
    case PointwiseKind::kSigmoid:
      return run_pointwise(threads, args, [](float x, float) { return 1.0f / (1.0f + std::exp(-x)); });
    case PointwiseKind::kSiLU:
      return run_pointwise(threads, args, [](float x, float) { return x / (1.0f + std::exp(-x)); });
    case PointwiseKind::kGelu:
      return run_pointwise(threads, args,
                           [](float x, float) { return 0.5f * x * std::erfc(-0.70710678f * x); });
    case PointwiseKind::kGeluTanh:
      return run_pointwise(threads, args, [](float x, float) {
        return x / (1.0f + std::exp(-1.5957691216057308f * (x + 0.044715f * x * x * x)));
      });
    case PointwiseKind::kTanh:
      return run_pointwise(threads, args, [](float x, float) { return std::tanh(x); });
    case PointwiseKind::kErf:
      return run_pointwise(threads, args, [](float x, float) { return std::erf(x); });
    case PointwiseKind::kSqrt:
      return run_pointwise(threads, args, [](float x, float) { return std::sqrt(x); });
    case PointwiseKind::kExp:
      return run_pointwise(threads, args, [](float x, float) { return std::exp(x); });
    case PointwiseKind::kLog:
      return run_pointwise(threads, args, [](float x, float) { return std::log(x); });
    case PointwiseKind::kNeg:
      return run_pointwise(threads, args, [](float x, float) { return -x; });
    case PointwiseKind::kAbs:
      return run_pointwise(threads, args, [](float x, float) { return std::fabs(x); });
    case PointwiseKind::kFloor:
      return run_pointwise(threads, args, [](float x, float) { return std::floor(x); });
    case PointwiseKind::kCeil:
      return run_pointwise(threads, args, [](float x, float) { return std::ceil(x); });
    case PointwiseKind::kReciprocal:
      return run_pointwise(threads, args, [](float x, float) { return 1.0f / x; });
  }
}

}  // namespace wan
