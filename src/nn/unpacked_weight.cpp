#include "nn/unpacked_weight.h"

#include <algorithm>

#include "ops/copy.h"
#include "ops/linear.h"
#include "ops/linear_combination.h"
#include "ops/unpack.h"

namespace wan {

namespace {

constexpr std::int64_t kTileElements = std::int64_t{1}
                                       << 23;  // summed at a time: 32 MiB of f32, and of the product

/// Rows of `weight` whose sum is made at a time.
std::int64_t tile_rows(const TensorView& weight) {
  constexpr std::int64_t kStep = 64;
  return std::min(weight.dim(0), std::max(kStep, kTileElements / weight.dim(1) / kStep * kStep));
}

}  // namespace

TensorView take_unpacked(ExecContext& ctx, const TensorView& weight, const LowRankViews& addition) {
  const TensorView values = ctx.workspace.take(ctx.unpacked, weight.shape());
  if (addition.up.empty()) {
    unpack(ctx, {.packed = weight, .out = values});
    return values;
  }
  const Workspace::Scope scope(ctx.workspace);
  const bool exact = values.dtype() == DType::kF32;
  const Shape tile{tile_rows(weight), weight.dim(1)};
  const TensorView product = ctx.workspace.take(DType::kF32, tile);
  const TensorView sum = exact ? TensorView() : ctx.workspace.take(DType::kF32, tile);
  for (std::int64_t first = 0; first < weight.dim(0); first += tile[0]) {
    const std::int64_t last = std::min(first + tile[0], weight.dim(0));
    const TensorView out = values.slice(0, first, last);
    const TensorView to = exact ? out : sum.slice(0, 0, last - first);
    const TensorView added = product.slice(0, 0, last - first);
    unpack(ctx, {.packed = weight.slice(0, first, last), .out = to});
    linear(ctx, {.x = addition.up.slice(0, first, last), .weight = addition.down, .bias = {}, .out = added});
    linear_combination(ctx, {.terms = {{1.0, to}, {1.0, added}}, .out = to});
    if (!exact) copy(ctx, {.from = to, .out = out});
  }
  return values;
}

}  // namespace wan
