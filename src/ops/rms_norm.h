#pragma once
// Root-mean-square norm over the last dimension.

#include "ops/exec_context.h"

namespace wan {

/// out[r, c] = x[r, c] / sqrt(mean_c x[r, c]^2 + eps) * weight[c].
/// x, out [L, C] f32 or bf16, rows may be strided; weight [C] f32 or bf16. Statistics in f32. out may be x.
struct RmsNormArgs {
  TensorView x;
  TensorView weight;
  float eps = 1e-6f;
  TensorView out;

  static void visit_views(auto& args, auto&& visit) {
    for (auto* view : {&args.x, &args.weight, &args.out}) visit(*view);
  }
};

void validate(const RmsNormArgs& args);
void reference(const RmsNormArgs& args);
void rms_norm(ExecContext& ctx, const RmsNormArgs& args);

}  // namespace wan
