#pragma once
// Halving pictures by the largest of four neighbours.

#include "ops/exec_context.h"

namespace wan {

/// out[t, y, x, c] = max over a, b in {0, 1} of x[t, 2 y + a, 2 x + b, c], NaN where one of them is. x [T, 2 H, 2 W, C] and out [T, H, W, C]
/// contiguous, of one dtype, f32 or bf16. No overlap.
struct MaxPool2x2Args {
  TensorView x;
  TensorView out;

  static void visit_views(auto& args, auto&& visit) {
    for (auto* view : {&args.x, &args.out}) visit(*view);
  }
};

void validate(const MaxPool2x2Args& args);
void reference(const MaxPool2x2Args& args);
void max_pool_2x2(ExecContext& ctx, const MaxPool2x2Args& args);

}  // namespace wan
