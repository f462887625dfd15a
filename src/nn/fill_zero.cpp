#include "nn/fill_zero.h"

#include "ops/backend.h"
#include "ops/copy.h"

namespace wan {

void fill_zero(ExecContext& ctx, const TensorView& view) {
  Workspace::Scope scope(ctx.workspace);
  const TensorView zero = ctx.workspace.take(DType::kF32, {1});
  float value = 0.0f;
  ctx.backend.upload(TensorView(&value, DType::kF32, {1}), zero);
  const std::array<std::int64_t, Shape::kMaxRank> zeros{};
  const Shape same_element(std::span(zeros.data(), static_cast<std::size_t>(view.rank())));
  copy(ctx, {.from = TensorView(zero.data(), DType::kF32, view.shape(), same_element, zero.device()),
             .out = view});
}

}  // namespace wan
