#include "models/umt5/layer.h"

#include <algorithm>
#include <cmath>

#include "ops/attention.h"
#include "ops/backend.h"
#include "ops/copy.h"
#include "ops/embedding.h"
#include "ops/gated_activation.h"
#include "ops/gated_residual.h"
#include "ops/rms_norm.h"

namespace wan {

Umt5Activations take_activations(Workspace& workspace, const Umt5Config& config, std::int64_t tokens) {
  const auto take = [&](std::int64_t width) { return workspace.take(DType::kF32, {tokens, width}); };
  return {.normed = take(config.dim),
          .query = take(config.dim_attention),
          .key = take(config.dim_attention),
          .value = take(config.dim_attention),
          .attended = take(config.dim_attention),
          .branch = take(config.dim),
          .gate = take(config.dim_ffn),
          .hidden = take(config.dim_ffn),
          .bias_rows = workspace.take(DType::kF32, {2 * tokens - 1, config.num_heads}),
          .bias = workspace.take(DType::kF32, {config.num_heads, tokens, tokens})};
}

Umt5Layer::Umt5Layer(const Umt5Pass& pass, const Umt5LayerWeights& weights, std::string name)
    : pass_(pass), weights_(weights), name_(std::move(name)) {}

void Umt5Layer::run(ExecContext& ctx, const TensorView& x) const {
  const TensorView& branch = pass_.scratch.branch;

  ctx.enter(name_ + ".attn");
  norm(ctx, x, weights_.attention_norm);
  self_attention(ctx);
  ctx.tap(name_ + ".attn", branch);
  gated_residual(ctx, {.x = x, .y = branch, .gate = {}, .segments = {}});

  ctx.enter(name_ + ".ffn");
  norm(ctx, x, weights_.ffn_norm);
  feed_forward(ctx);
  ctx.tap(name_ + ".ffn", branch);
  gated_residual(ctx, {.x = x, .y = branch, .gate = {}, .segments = {}});
  ctx.tap(name_, x);
}

void Umt5Layer::norm(ExecContext& ctx, const TensorView& x, const TensorView& weight) const {
  rms_norm(ctx, {.x = x, .weight = weight, .eps = kUmt5Eps, .out = pass_.scratch.normed});
}

void Umt5Layer::self_attention(ExecContext& ctx) const {
  const Umt5Activations& scratch = pass_.scratch;
  weights_.query(ctx, scratch.normed, scratch.query);
  weights_.key(ctx, scratch.normed, scratch.key);
  weights_.value(ctx, scratch.normed, scratch.value);
  fill_bias(ctx);
  // T5 does not scale the scores.
  attention(ctx, {.q = as_heads(scratch.query),
                  .k = as_heads(scratch.key),
                  .v = as_heads(scratch.value),
                  .scale = 1.0f,
                  .bias = scratch.bias,
                  .key_bias = {},
                  .out = as_heads(scratch.attended)});
  weights_.output(ctx, scratch.attended, scratch.branch);
}

void Umt5Layer::fill_bias(ExecContext& ctx) const {
  const Umt5Activations& scratch = pass_.scratch;
  const std::int64_t tokens = scratch.normed.dim(0);
  const std::int64_t heads = pass_.config.num_heads;
  const TensorView& rows = scratch.bias_rows;
  embedding(ctx, {.table = weights_.positions, .ids = pass_.buckets, .out = rows});
  // From the query at the end on, whose first key is 1 - tokens away: a row further for every key, and for every query before it.
  const TensorView last_first(rows.data(), rows.dtype(), {heads, tokens, tokens}, {1, heads, heads},
                              rows.device());
  copy(ctx, {last_first.flip(1), scratch.bias});
}

void Umt5Layer::feed_forward(ExecContext& ctx) const {
  const Umt5Activations& scratch = pass_.scratch;
  weights_.ffn_gate(ctx, scratch.normed, scratch.gate);
  weights_.ffn_in(ctx, scratch.normed, scratch.hidden);
  gated_activation(ctx, {.gate = scratch.gate, .x = scratch.hidden, .out = scratch.hidden});
  weights_.ffn_out(ctx, scratch.hidden, scratch.branch);
}

TensorView Umt5Layer::as_heads(const TensorView& rows) const {
  return rows.reshape({rows.dim(0), pass_.config.num_heads, pass_.config.head_dim()});
}

std::int64_t relative_position_bucket(std::int64_t relative, std::int64_t num_buckets) {
  constexpr double kMaxDistance = 128.0;
  const std::int64_t half = num_buckets / 2;
  const std::int64_t side = relative > 0 ? half : 0;
  const std::int64_t distance = std::abs(relative);
  const std::int64_t exact = half / 2;
  if (distance < exact) return side + distance;
  // f32, in PyTorch's order of operations: a bucket's edge must fall where the official code puts it.
  const float ratio = std::log(static_cast<float>(distance) / static_cast<float>(exact)) /
                      static_cast<float>(std::log(kMaxDistance / static_cast<double>(exact))) *
                      static_cast<float>(half - exact);
  return side + std::min(exact + static_cast<std::int64_t>(ratio), half - 1);
}

std::vector<std::int64_t> relative_buckets(std::int64_t tokens, std::int64_t num_buckets) {
  std::vector<std::int64_t> buckets;
  for (std::int64_t relative = 1 - tokens; relative < tokens; ++relative)
    buckets.push_back(relative_position_bucket(relative, num_buckets));
  return buckets;
}

}  // namespace wan
