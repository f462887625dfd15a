#pragma once
// Linear: a weight and a bias as one callable thing. It owns nothing: the views come from a residency or a holder.

#include "ops/linear.h"

namespace wan {

struct Linear {
  TensorView weight;  // [out, in]
  TensorView bias;    // [out], may be empty

  /// out [M, out features] = activation(x weight^T + bias).
  void operator()(ExecContext& ctx, const TensorView& x, const TensorView& out,
                  ActivationKind activation = ActivationKind::kNone) const {
    linear(ctx, {.x = x, .weight = weight, .bias = bias, .out = out, .activation = activation});
  }
};

}  // namespace wan
