#pragma once
// Sums of rows, f32 on the device.

#include "ops/copy.h"
#include "ops/gated_residual.h"

namespace wan::sam2 {

/// x += y, of one shape.
inline void add(ExecContext& ctx, const TensorView& x, const TensorView& y) {
  gated_residual(ctx, {.x = x, .y = y, .gate = {}, .segments = {}});
}

/// out = x + row, which each row of x [rows, dim] gets; row is dim values.
inline void add_to_rows(ExecContext& ctx, const TensorView& row, const TensorView& x, const TensorView& out) {
  copy(ctx, {TensorView(row.data(), DType::kF32, x.shape(), {0, 1}, x.device()), out});
  add(ctx, out, x);
}

}  // namespace wan::sam2
