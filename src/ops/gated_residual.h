#pragma once
// Adding a branch to the residual stream, scaled by a gate: the end of every attention and feed-forward.

#include "ops/exec_context.h"
#include "ops/row_segments.h"

namespace wan {

/// x[r, c] += y[r, c] * gate[segment(r), c], or x += y where gate is empty.
/// x and y [L, C] f32 or bf16, contiguous; gate [S, C] f32, rows may be strided. Computed
/// in f32.
struct GatedResidualArgs {
  TensorView x;
  TensorView y;
  TensorView gate;
  RowSegments segments;  // S of them; ignored where gate is empty

  static void visit_views(auto& args, auto&& visit) {
    for (auto* view : {&args.x, &args.y, &args.gate}) visit(*view);
  }
  /// In place.
  TensorView result() const { return x; }
};

void validate(const GatedResidualArgs& args);
void reference(const GatedResidualArgs& args);
void gated_residual(ExecContext& ctx, const GatedResidualArgs& args);

}  // namespace wan
