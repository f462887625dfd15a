#include "ops/activation.h"

#include <cmath>
#include <numbers>

#include "ops/dispatch.h"

namespace wan {

double apply_activation(ActivationKind kind, double x) {
  switch (kind) {
    case ActivationKind::kSiLU:
      return x / (1.0 + std::exp(-x));
    case ActivationKind::kGeluTanh:
      return 0.5 * x * (1.0 + std::tanh(std::sqrt(2.0 * std::numbers::inv_pi) * (x + 0.044715 * x * x * x)));
    case ActivationKind::kGelu:
      return 0.5 * x * std::erfc(-x * std::numbers::sqrt2 / 2.0);  // 1 + erf would cancel far below zero
    case ActivationKind::kLeakyReLU:
      return x >= 0.0 ? x : 0.2 * x;
    case ActivationKind::kReLU:
      return x < 0.0 ? 0.0 : x;
    case ActivationKind::kNone:
      break;
  }
  return x;
}

void validate(const ActivationArgs& args) {
  constexpr const char* kOp = "activation";
  check_activation_dtype(kOp, "x", args.x);
  check_shape(kOp, "out", args.out, args.x.shape());
  check_activation_dtype(kOp, "out", args.out);
  WAN_CHECK(args.x.is_contiguous() && args.out.is_contiguous(), kInternal, "[{}] views must be contiguous",
            kOp);
}

void reference(const ActivationArgs& args) {
  const Shape flat{args.x.elements()};
  const TensorView x = args.x.reshape(flat);
  const TensorView out = args.out.reshape(flat);
  for (std::int64_t i = 0; i < flat[0]; ++i)
    store_element(out, {i}, apply_activation(args.kind, load_element(x, {i})));
}

void activation(ExecContext& ctx, const ActivationArgs& args) {
  validate(args);
  dispatch(ctx, "activation", args);
}

}  // namespace wan
