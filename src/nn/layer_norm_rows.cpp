#include "nn/layer_norm_rows.h"

#include "ops/layer_norm.h"

namespace wan {

void norm_rows(ExecContext& ctx, const LayerNormWeights& weights, float eps, const TensorView& x,
               const TensorView& out) {
  layer_norm(ctx, {.x = x,
                   .weight = weights.weight,
                   .bias = weights.bias,
                   .scale = {},
                   .shift = {},
                   .segments = {},
                   .eps = eps,
                   .out = out});
}

}  // namespace wan
