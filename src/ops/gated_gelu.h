#pragma once
// The gated feed-forward of umT5: one half through GELU, times the other half.

#include "ops/exec_context.h"

namespace wan {

/// out = gelu_tanh(gate) * x. gate, x, out: same shape, contiguous, f32 or bf16; out may be either. Computed
/// in f32.
struct GatedGeluArgs {
  TensorView gate;
  TensorView x;
  TensorView out;

  static void visit_views(auto& args, auto&& visit) {
    for (auto* view : {&args.gate, &args.x, &args.out}) visit(*view);
  }
};

void validate(const GatedGeluArgs& args);
void reference(const GatedGeluArgs& args);
void gated_gelu(ExecContext& ctx, const GatedGeluArgs& args);

}  // namespace wan
