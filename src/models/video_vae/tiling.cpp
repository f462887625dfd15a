#include "models/video_vae/tiling.h"

#include <algorithm>

#include "ops/backend.h"
#include "ops/copy.h"
#include "ops/gated_residual.h"

namespace wan {

namespace {

/// Height of the trapezium over a span: 1 inside, falling linearly to 0 over what it shares with its neighbours.
double trapezium(const std::vector<TileSpan>& spans, std::size_t index, double place) {
  double height = 1.0;
  const auto begin = static_cast<double>(spans[index].begin);
  const auto end = static_cast<double>(spans[index].end);
  if (place <= begin || place >= end) return 0.0;
  if (index > 0) {
    const auto shared_end = static_cast<double>(spans[index - 1].end);
    if (shared_end > begin) height = std::min(height, (place - begin) / (shared_end - begin));
  }
  if (index + 1 < spans.size()) {
    const auto shared_begin = static_cast<double>(spans[index + 1].begin);
    if (shared_begin < end) height = std::min(height, (end - place) / (end - shared_begin));
  }
  return height;
}

}  // namespace

std::vector<TileSpan> tile_spans(std::int64_t extent, std::int64_t tile, std::int64_t overlap) {
  if (tile >= extent) return {{0, extent}};
  WAN_ASSERT(overlap >= 0 && overlap < tile);
  const std::int64_t step = tile - overlap;
  const std::int64_t count = (extent - overlap + step - 1) / step;
  std::vector<TileSpan> spans;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t begin = i * (extent - tile) / (count - 1);
    spans.push_back({begin, begin + tile});
  }
  return spans;
}

std::vector<float> blend_weights(const std::vector<TileSpan>& spans, std::size_t index, std::int64_t stride) {
  std::vector<float> weights(static_cast<std::size_t>(spans[index].size() * stride));
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const double place = static_cast<double>(spans[index].begin) +
                         (static_cast<double>(i) + 0.5) / static_cast<double>(stride);
    double total = 0.0;
    for (std::size_t s = 0; s < spans.size(); ++s) total += trapezium(spans, s, place);
    weights[i] = static_cast<float>(trapezium(spans, index, place) / total);
  }
  return weights;
}

TileBlend::TileBlend(ExecContext& ctx, const std::vector<float>& rows, const std::vector<float>& columns,
                     std::int64_t channels) {
  const auto height = static_cast<std::int64_t>(rows.size());
  const std::int64_t row = static_cast<std::int64_t>(columns.size()) * channels;
  std::vector<float> weights;
  weights.reserve(static_cast<std::size_t>(height * row));
  for (const float of_row : rows)
    for (const float of_column : columns)
      weights.insert(weights.end(), static_cast<std::size_t>(channels), of_row * of_column);
  weights_ = ctx.workspace.take(DType::kF32, {height, row});
  sum_ = ctx.workspace.take(DType::kF32, {height, row});
  ctx.backend.upload(TensorView(weights.data(), DType::kF32, weights_.shape()), weights_);
  for (std::int64_t y = 1; y <= height; ++y) row_ends_.push_back(y);
}

void TileBlend::add(ExecContext& ctx, const TensorView& frame, const TensorView& whole) const {
  const TensorView sum = sum_.reshape(frame.shape());
  copy(ctx, {.from = whole, .out = sum});
  gated_residual(ctx,
                 {.x = sum_, .y = frame.reshape(sum_.shape()), .gate = weights_, .segments = {row_ends_}});
  copy(ctx, {.from = sum, .out = whole});
}

}  // namespace wan
