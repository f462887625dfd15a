#pragma once
// Zeroing memory of any device: the frames before a clip, sums before their first term.

#include "ops/exec_context.h"

namespace wan {

/// view = 0. f32, any strides.
void fill_zero(ExecContext& ctx, const TensorView& view);

}  // namespace wan
