#pragma once
// Element-wise activation functions.

#include "ops/exec_context.h"

namespace wan {

enum class ActivationKind {
  kNone,
  kSiLU,       // x / (1 + exp(-x))
  kGeluTanh,   // 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
  kGelu,       // x Phi(x) = 0.5 x (1 + erf(x / sqrt(2)))
  kLeakyReLU,  // x where x >= 0, otherwise x / 5
  kReLU,       // x where x >= 0, otherwise 0
};

/// The scalar function, in double.
double apply_activation(ActivationKind kind, double x);

/// out = kind(x). x, out: same shape, contiguous, f32 or bf16; out may be x. Computed in f32.
struct ActivationArgs {
  TensorView x;
  ActivationKind kind;
  TensorView out;

  static void visit_views(auto& args, auto&& visit) {
    for (auto* view : {&args.x, &args.out}) visit(*view);
  }
};

void validate(const ActivationArgs& args);
void reference(const ActivationArgs& args);
void activation(ExecContext& ctx, const ActivationArgs& args);

}  // namespace wan
