#pragma once
// Gated feed-forwards: one half through an activation, times the other half: GELU in umT5, SiLU in Qwen2.5.

#include "ops/activation.h"

namespace wan {

/// out = kind(gate) * x; kind is kGeluTanh or kSiLU. gate, x, out: same shape, contiguous, f32 or bf16; out may be either. Computed
/// in f32.
struct GatedActivationArgs {
  TensorView gate;
  TensorView x;
  TensorView out;
  ActivationKind kind = ActivationKind::kGeluTanh;

  static void visit_views(auto& args, auto&& visit) {
    for (auto* view : {&args.gate, &args.x, &args.out}) visit(*view);
  }
};

void validate(const GatedActivationArgs& args);
void reference(const GatedActivationArgs& args);
void gated_activation(ExecContext& ctx, const GatedActivationArgs& args);

}  // namespace wan
