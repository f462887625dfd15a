#include "models/wav2vec2/layer.h"

#include <algorithm>
#include <cmath>

#include "ops/attention.h"
#include "ops/backend.h"
#include "ops/gated_residual.h"

namespace wan {

namespace {

// 64 MB of the published width: enough rows for a product's full speed, and no more than a minute and a half's.
constexpr std::int64_t kFeedForwardRows = 4096;

}  // namespace

Wav2Vec2Activations take_activations(Workspace& workspace, const Wav2Vec2Config& config,
                                     std::int64_t states) {
  const auto take = [&](std::int64_t rows, std::int64_t width) {
    return workspace.take(DType::kF32, {rows, width});
  };
  return {.normed = take(states, config.dim),
          .query = take(states, config.dim),
          .key = take(states, config.dim),
          .value = take(states, config.dim),
          .attended = take(states, config.dim),
          .hidden = take(std::min(states, kFeedForwardRows), config.dim_ffn)};
}

Wav2Vec2Layer::Wav2Vec2Layer(const Wav2Vec2Config& config, const Wav2Vec2Activations& scratch,
                             const Wav2Vec2LayerWeights& weights, std::string name)
    : config_(config), scratch_(scratch), weights_(weights), name_(std::move(name)) {}

void Wav2Vec2Layer::run(ExecContext& ctx, const TensorView& x) const {
  const TensorView& branch = scratch_.query;
  ctx.enter(name_ + ".attention");
  norm_rows(ctx, weights_.attention_norm, config_.eps, x, scratch_.normed);
  self_attention(ctx);
  ctx.tap(name_ + ".attention", branch);
  gated_residual(ctx, {.x = x, .y = branch, .gate = {}, .segments = {}});

  ctx.enter(name_ + ".feed_forward");
  norm_rows(ctx, weights_.ffn_norm, config_.eps, x, scratch_.normed);
  feed_forward(ctx);
  ctx.tap(name_ + ".feed_forward", branch);
  gated_residual(ctx, {.x = x, .y = branch, .gate = {}, .segments = {}});
  ctx.tap(name_, x);
}

void Wav2Vec2Layer::self_attention(ExecContext& ctx) const {
  weights_.query(ctx, scratch_.normed, scratch_.query);
  weights_.key(ctx, scratch_.normed, scratch_.key);
  weights_.value(ctx, scratch_.normed, scratch_.value);
  attention(ctx, {.q = as_heads(scratch_.query),
                  .k = as_heads(scratch_.key),
                  .v = as_heads(scratch_.value),
                  .scale = 1.0f / std::sqrt(static_cast<float>(config_.head_dim())),
                  .bias = {},
                  .key_bias = {},
                  .out = as_heads(scratch_.attended)});
  weights_.output(ctx, scratch_.attended, scratch_.query);
}

void Wav2Vec2Layer::feed_forward(ExecContext& ctx) const {
  const std::int64_t rows = scratch_.normed.dim(0);
  for (std::int64_t first = 0; first < rows; first += kFeedForwardRows) {
    const std::int64_t last = std::min(first + kFeedForwardRows, rows);
    const TensorView hidden = scratch_.hidden.slice(0, 0, last - first);
    weights_.ffn_in(ctx, scratch_.normed.slice(0, first, last), hidden, ActivationKind::kGelu);
    weights_.ffn_out(ctx, hidden, scratch_.query.slice(0, first, last));
  }
}

TensorView Wav2Vec2Layer::as_heads(const TensorView& rows) const {
  return rows.reshape({rows.dim(0), config_.num_heads, config_.head_dim()});
}

}  // namespace wan
