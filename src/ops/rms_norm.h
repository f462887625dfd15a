#pragma once
// Root-mean-square norm over the last dimension, and a branch that is added to the residual stream before it.

#include "ops/gated_residual.h"

namespace wan {

/// out[r, c] = x[r, c] / sqrt(mean_c x[r, c]^2 + eps) * weight[c]; where there is a branch, x += branch first.
/// x, branch, out [L, C] f32 or bf16, rows may be strided, x and branch contiguous where there is a branch; weight [C] f32 or bf16.
/// Computed in f32. out may be x where there is no branch.
struct RmsNormArgs {
  TensorView x;
  TensorView weight;
  float eps = 1e-6f;
  TensorView out;
  TensorView branch = {};

  static void visit_views(auto& args, auto&& visit) {
    for (auto* view : {&args.x, &args.weight, &args.out, &args.branch}) visit(*view);
  }
};

/// The addition alone.
GatedResidualArgs residual_of(const RmsNormArgs& args);

void validate(const RmsNormArgs& args);
void reference(const RmsNormArgs& args);
void rms_norm(ExecContext& ctx, const RmsNormArgs& args);

}  // namespace wan
