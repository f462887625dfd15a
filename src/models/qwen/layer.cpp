#include "models/qwen/layer.h"

#include <cmath>

#include "ops/causal_attention.h"
#include "ops/gated_residual.h"
#include "ops/rms_norm.h"
#include "ops/rotate_halves.h"

namespace wan {

QwenActivations take_activations(Workspace& workspace, const QwenConfig& config, std::int64_t tokens,
                                 DType dtype) {
  const auto take = [&](std::int64_t width) { return workspace.take(dtype, {tokens, width}); };
  return {.normed = take(config.dim),
          .query = take(config.query_dim()),
          .attended = take(config.query_dim()),
          .branch = workspace.take(DType::kF32, {tokens, config.dim}),
          .gate = take(config.dim_ffn),
          .hidden = take(config.dim_ffn)};
}

namespace {

std::string layer_name(std::int64_t index) {
  return "model.layers." + std::to_string(index);
}

}  // namespace

QwenLayer::QwenLayer(const QwenPass& pass, std::int64_t index, const QwenLayerWeights& weights)
    : pass_(pass), index_(index), weights_(weights) {}

void QwenLayer::run(ExecContext& ctx, const TensorView& x) const {
  const QwenActivations& scratch = pass_.scratch;
  const std::string name = layer_name(index_);

  ctx.enter(name + ".self_attn");
  rms_norm(ctx, {.x = x,
                 .weight = weights_.attention_norm,
                 .eps = pass_.config.eps,
                 .out = scratch.normed,
                 .branch = index_ > 0 ? scratch.branch : TensorView()});
  if (index_ > 0) ctx.tap(layer_name(index_ - 1), x);
  self_attention(ctx);
  ctx.tap(name + ".self_attn", scratch.branch);

  ctx.enter(name + ".mlp");
  rms_norm(ctx, {.x = x,
                 .weight = weights_.ffn_norm,
                 .eps = pass_.config.eps,
                 .out = scratch.normed,
                 .branch = scratch.branch});
  feed_forward(ctx);
  ctx.tap(name + ".mlp", scratch.branch);
  if (index_ + 1 < pass_.config.num_layers) return;
  gated_residual(ctx, {.x = x, .y = scratch.branch, .gate = {}, .segments = {}});
  ctx.tap(name, x);
}

void QwenLayer::self_attention(ExecContext& ctx) const {
  const QwenConfig& config = pass_.config;
  const QwenActivations& scratch = pass_.scratch;
  const std::int64_t n = scratch.normed.dim(0);
  const std::int64_t before = pass_.cache.tokens();
  const std::int64_t all = before + n;
  const TensorView query = scratch.query.reshape({n, config.num_heads, config.head_dim});
  const TensorView key = pass_.cache.keys(index_, before, all);
  const TensorView value = pass_.cache.values(index_, before, all);

  run_together(ctx, scratch.normed,
               {{weights_.query, scratch.query},
                {weights_.key, key.reshape({n, config.key_dim()})},
                {weights_.value, value.reshape({n, config.key_dim()})}});
  rotate_halves(ctx, {.x = query, .table = pass_.rope_table, .out = query, .also = key});
  causal_attention(ctx, {.q = query,
                         .k = pass_.cache.keys(index_, 0, all),
                         .v = pass_.cache.values(index_, 0, all),
                         .scale = 1.0f / std::sqrt(static_cast<float>(config.head_dim)),
                         .out = scratch.attended.reshape({n, config.num_heads, config.head_dim})});
  weights_.output(ctx, scratch.attended, scratch.branch);
}

void QwenLayer::feed_forward(ExecContext& ctx) const {
  const QwenActivations& scratch = pass_.scratch;
  run_together(ctx, scratch.normed, {{weights_.gate, scratch.gate}, {weights_.up, scratch.hidden}},
               ActivationKind::kSiLU);
  weights_.down(ctx, scratch.hidden, scratch.branch);
}

}  // namespace wan
