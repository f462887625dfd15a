#pragma once
// Layer norm, with learned affine parameters or with adaptive modulation (adaLN).

#include "ops/exec_context.h"
#include "ops/row_segments.h"

namespace wan {

/// n = (x[r] - mean) / sqrt(variance + eps); out[r, c] = n[c] * weight[c] + bias[c], or, with scale and
/// shift, out[r, c] = n[c] * (1 + scale[segment(r), c]) + shift[segment(r), c], or n[c] where all four are
/// empty. x [L, C] f32, contiguous; weight, bias [C] f32; scale, shift [S, C] f32, rows may be strided; out
/// [L, C] contiguous, f32 or bf16, may be x where f32. Two-pass statistics in f32.
struct LayerNormArgs {
  TensorView x;
  TensorView weight;
  TensorView bias;
  TensorView scale;
  TensorView shift;
  RowSegments segments;  // S of them; ignored without scale and shift
  float eps = 1e-6f;
  TensorView out;

  static void visit_views(auto& args, auto&& visit) {
    for (auto* view : {&args.x, &args.weight, &args.bias, &args.scale, &args.shift, &args.out}) visit(*view);
  }
};

void validate(const LayerNormArgs& args);
void reference(const LayerNormArgs& args);
void layer_norm(ExecContext& ctx, const LayerNormArgs& args);

}  // namespace wan
