#include "nn/fill_zero.h"

#include <array>
#include <vector>

#include "ops/backend.h"
#include "ops/copy.h"

namespace wan {

void fill_zero(ExecContext& ctx, const TensorView& view) {
  if (view.elements() == 0) return;
  Workspace::Scope scope(ctx.workspace);
  // One row of zeros, read again for every row: stride 0 in the dimensions before the last.
  const std::vector<float> zeros(static_cast<std::size_t>(view.dim(-1)), 0.0f);
  const TensorView row = ctx.workspace.take(DType::kF32, {view.dim(-1)});
  ctx.backend.upload(TensorView(const_cast<float*>(zeros.data()), DType::kF32, row.shape()), row);
  std::array<std::int64_t, Shape::kMaxRank> strides{};
  strides[static_cast<std::size_t>(view.rank() - 1)] = 1;
  const Shape repeated(std::span(strides.data(), static_cast<std::size_t>(view.rank())));
  copy(ctx, {.from = TensorView(row.data(), DType::kF32, view.shape(), repeated, row.device()), .out = view});
}

}  // namespace wan
