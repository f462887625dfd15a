#pragma once
// Rotary position embedding whose pairs are a head's two halves, as language models have it.

#include "ops/exec_context.h"

namespace wan {

/// out[r, h, i] = x[r, h, i] cos - x[r, h, i + D/2] sin and out[r, h, i + D/2] = x[r, h, i + D/2] cos + x[r, h, i] sin, where
/// cos, sin = table[r, i, 0], table[r, i, 1]. x, out [L, H, D] f32 or bf16, any token and head stride, D even and contiguous; table
/// [L, D/2, 2] f32, contiguous. Computed in f32. out may be x.
struct RotateHalvesArgs {
  TensorView x;
  TensorView table;
  TensorView out;

  static void visit_views(auto& args, auto&& visit) {
    for (auto* view : {&args.x, &args.table, &args.out}) visit(*view);
  }
};

void validate(const RotateHalvesArgs& args);
void reference(const RotateHalvesArgs& args);
void rotate_halves(ExecContext& ctx, const RotateHalvesArgs& args);

}  // namespace wan
