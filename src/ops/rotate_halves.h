#pragma once
// Rotary position embedding whose pairs are a head's two halves, as language models have it.

#include "ops/exec_context.h"

namespace wan {

/// out[r, h, i] = x[r, h, i] cos - x[r, h, i + D/2] sin and out[r, h, i + D/2] = x[r, h, i + D/2] cos + x[r, h, i] sin, where
/// cos, sin = table[r, i, 0], table[r, i, 1]. x, out [L, H, D] f32 or bf16, any token and head stride, D even and contiguous; table
/// [L, D/2, 2] f32, contiguous. Computed in f32. out may be x. `also` [L, H2, D], f32 or bf16, where there is one: further heads of the
/// same rows, turned in place: keys beside queries.
struct RotateHalvesArgs {
  TensorView x;
  TensorView table;
  TensorView out;
  TensorView also = {};

  static void visit_views(auto& args, auto&& visit) {
    for (auto* view : {&args.x, &args.table, &args.out, &args.also}) visit(*view);
  }
};

/// What is done with `also`, alone.
RotateHalvesArgs rotation_of_also(const RotateHalvesArgs& args);

void validate(const RotateHalvesArgs& args);
void reference(const RotateHalvesArgs& args);
void rotate_halves(ExecContext& ctx, const RotateHalvesArgs& args);

}  // namespace wan
