#pragma once
// Query and key preparation: RMS norm over all heads together, then rotary position embedding, head by head.

#include "ops/exec_context.h"

namespace wan {

/// n[r] = rms_norm(x[r], weight, eps); out[r, h, 2i] = n[2i] cos - n[2i + 1] sin and out[r, h, 2i + 1] =
/// n[2i] sin + n[2i + 1] cos, where n is head h's part and cos, sin = table[r, i, 0], table[r, i, 1]. x [L, H
/// D] and out [L, H, D] f32 or bf16, rows may be strided, D even; weight [H D] f32 or bf16; table [L, D/2, 2]
/// f32, contiguous. Computed in f32. out may be x's memory.
struct RmsNormRopeArgs {
  TensorView x;
  TensorView weight;
  float eps = 1e-6f;
  TensorView table;
  TensorView out;

  static void visit_views(auto& args, auto&& visit) {
    for (auto* view : {&args.x, &args.weight, &args.table, &args.out}) visit(*view);
  }
};

void validate(const RmsNormRopeArgs& args);
void reference(const RmsNormRopeArgs& args);
void rms_norm_rope(ExecContext& ctx, const RmsNormRopeArgs& args);

}  // namespace wan
