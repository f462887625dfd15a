#pragma once
// Nearest-neighbour upsampling by two in height and width.

#include "ops/exec_context.h"

namespace wan {

/// out[t, y, x, c] = x[t, y / 2, x / 2, c]. x [T, H, W, C] contiguous and out [T, 2H, 2W, C], whose rows are contiguous and may lie
/// inside of longer ones; same dtype, f32 or bf16.
struct UpsampleArgs {
  TensorView x;
  TensorView out;

  static void visit_views(auto& args, auto&& visit) {
    for (auto* view : {&args.x, &args.out}) visit(*view);
  }
};

void validate(const UpsampleArgs& args);
void reference(const UpsampleArgs& args);
void upsample_nearest_2x(ExecContext& ctx, const UpsampleArgs& args);

}  // namespace wan
