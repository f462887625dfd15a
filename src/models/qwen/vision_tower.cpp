#include "models/qwen/vision_tower.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "ops/attention.h"
#include "ops/backend.h"
#include "ops/gated_activation.h"
#include "ops/gated_residual.h"
#include "ops/rms_norm.h"
#include "ops/rotate_halves.h"

namespace wan {

using enum WeightDType;

namespace {

/// Cosines and sines of rows, then of columns, each for half of a head's pairs, in the reference's f32 arithmetic.
void fill_vision_table(const PicturePatches& picture, std::int64_t head_dim, const TensorView& table) {
  const std::int64_t axis = head_dim / 2;  // dimensions that turn with one of the two
  float* to = table.as<float>();
  for (const QwenPosition& position : picture.positions)
    for (const std::int64_t at : {position.row, position.column})
      for (std::int64_t i = 0; i < axis; i += 2) {
        const float frequency = 1.0f / std::pow(10000.0f, static_cast<float>(i) / static_cast<float>(axis));
        const float angle = static_cast<float>(at) * frequency;
        *to++ = std::cos(angle);
        *to++ = std::sin(angle);
      }
}

}  // namespace

void QwenVisionBlockWeights::visit(const WeightVisitor& at, const QwenVisionConfig& config) {
  const auto linear = [&](const char* name, Linear& weights, std::int64_t in, std::int64_t out) {
    weights.visit(at.child(name), {.in = in, .out = out});
  };
  at.tensor("norm1.weight", attention_norm, {config.dim}, kFloat32);
  linear("attn.qkv", query_key_value, config.dim, 3 * config.dim);
  linear("attn.proj", output, config.dim, config.dim);
  at.tensor("norm2.weight", ffn_norm, {config.dim}, kFloat32);
  linear("mlp.gate_proj", gate, config.dim, config.dim_ffn);
  linear("mlp.up_proj", up, config.dim, config.dim_ffn);
  linear("mlp.down_proj", down, config.dim_ffn, config.dim);
}

BlockLayout qwen_vision_block_layout(const QwenVisionConfig& config) {
  return {.prefix = "visual.blocks.{i}.", .weights = list_weights<QwenVisionBlockWeights>(config)};
}

void QwenVisionOuterWeights::visit(const WeightVisitor& at, const QwenVisionConfig& config) {
  const std::int64_t merged = config.merged_dim();
  at.tensor("visual.patch_embed.proj.weight", patches,
            {config.dim, 3, config.frames, config.patch, config.patch});
  at.tensor("visual.merger.ln_q.weight", merge_norm, {config.dim}, kFloat32);
  merge_in.visit(at.child("visual.merger.mlp.0"), {.in = merged, .out = merged});
  merge_out.visit(at.child("visual.merger.mlp.2"), {.in = merged, .out = config.out_dim});
}

QwenVisionTower::QwenVisionTower(const QwenVisionConfig& config, const WeightScope& top,
                                 BlockResidency& residency, int group, DType dtype)
    : config_(config), residency_(residency), group_(group), dtype_(dtype), weights_(top, config) {}

void QwenVisionTower::encode(ExecContext& ctx, const PicturePatches& picture, const TensorView& out) const {
  const std::int64_t n = picture.pixels.dim(0);
  const std::int64_t merged = picture.rows * picture.columns;
  WAN_CHECK(out.shape() == (Shape{merged, config_.out_dim}), kInternal, "[qwen] {} merged patches into {}",
            merged, out.shape().to_string());
  const Workspace::Scope scope(ctx.workspace);
  const TensorView pixels = ctx.workspace.take(DType::kF32, picture.pixels.shape());
  ctx.backend.upload(picture.pixels, pixels);
  const Tensor host_table(DType::kF32, {n, config_.head_dim() / 2, 2});
  fill_vision_table(picture, config_.head_dim(), host_table);
  const TensorView table = ctx.workspace.take(DType::kF32, host_table.shape());
  ctx.backend.upload(host_table, table);
  const TensorView x = ctx.workspace.take(DType::kF32, {n, config_.dim});
  linear(ctx, {.x = pixels,
               .weight = weights_->patches.reshape({config_.dim, config_.patch_values()}),
               .bias = {},
               .out = x});
  ctx.tap("visual.patch_embed", x);

  std::vector<BlockId> blocks;
  for (int i = 0; i < config_.num_layers; ++i) blocks.push_back({group_, i});
  residency_.set_schedule(blocks);
  for (const BlockId block : blocks) {
    ctx.check_cancelled();
    const BlockLease lease = residency_.acquire(block);
    const bool whole = std::find(config_.whole_layers.begin(), config_.whole_layers.end(), block.index) !=
                       config_.whole_layers.end();
    run_block(ctx, bind_weights<QwenVisionBlockWeights>(lease.leased(), config_), whole, picture, table, x);
    ctx.tap("visual.blocks." + std::to_string(block.index), x);
  }

  const TensorView normed = ctx.workspace.take(dtype_, {n, config_.dim});
  const TensorView hidden = ctx.workspace.take(dtype_, {merged, config_.merged_dim()});
  const TensorView tokens = ctx.workspace.take(DType::kF32, {merged, config_.out_dim});
  rms_norm(ctx, {.x = x, .weight = weights_->merge_norm, .eps = config_.eps, .out = normed});
  weights_->merge_in(ctx, normed.reshape({merged, config_.merged_dim()}), hidden, ActivationKind::kGelu);
  weights_->merge_out(ctx, hidden, tokens);
  const Tensor in_windows(DType::kF32, tokens.shape());
  ctx.backend.download(tokens, in_windows);
  const auto width = static_cast<std::size_t>(config_.out_dim);
  for (std::size_t i = 0; i < picture.merged_in_order.size(); ++i)
    std::memcpy(out.as<float>() + i * width,
                in_windows.as<float>() + static_cast<std::size_t>(picture.merged_in_order[i]) * width,
                width * sizeof(float));
}

void QwenVisionTower::run_block(ExecContext& ctx, const QwenVisionBlockWeights& weights, bool whole,
                                const PicturePatches& picture, const TensorView& table,
                                const TensorView& x) const {
  const std::int64_t n = x.dim(0);
  const std::int64_t dim = config_.dim;
  const Workspace::Scope scope(ctx.workspace);
  const TensorView normed = ctx.workspace.take(dtype_, {n, dim});
  const TensorView together = ctx.workspace.take(dtype_, {n, 3 * dim});
  const TensorView attended = ctx.workspace.take(dtype_, {n, config_.num_heads, config_.head_dim()});
  const TensorView branch = ctx.workspace.take(DType::kF32, {n, dim});
  const TensorView gate = ctx.workspace.take(dtype_, {n, config_.dim_ffn});
  const TensorView hidden = ctx.workspace.take(dtype_, {n, config_.dim_ffn});

  rms_norm(ctx, {.x = x, .weight = weights.attention_norm, .eps = config_.eps, .out = normed});
  weights.query_key_value(ctx, normed, together);
  const TensorView parts = together.reshape({n, 3, config_.num_heads, config_.head_dim()});
  const TensorView query = parts.select(1, 0);
  const TensorView key = parts.select(1, 1);
  const TensorView value = parts.select(1, 2);
  rotate_halves(ctx, {.x = query, .table = table, .out = query});
  rotate_halves(ctx, {.x = key, .table = table, .out = key});
  const auto attend = [&](std::int64_t first, std::int64_t last) {
    attention(ctx, {.q = query.slice(0, first, last),
                    .k = key.slice(0, first, last),
                    .v = value.slice(0, first, last),
                    .scale = 1.0f / std::sqrt(static_cast<float>(config_.head_dim())),
                    .bias = {},
                    .key_bias = {},
                    .out = attended.slice(0, first, last)});
  };
  if (whole) {
    attend(0, n);
  } else {
    std::int64_t first = 0;
    for (const std::int64_t last : picture.window_ends) {
      attend(first, last);
      first = last;
    }
  }
  weights.output(ctx, attended.reshape({n, dim}), branch);
  gated_residual(ctx, {.x = x, .y = branch, .gate = {}, .segments = {}});

  rms_norm(ctx, {.x = x, .weight = weights.ffn_norm, .eps = config_.eps, .out = normed});
  weights.gate(ctx, normed, gate);
  weights.up(ctx, normed, hidden);
  gated_activation(ctx, {.gate = gate, .x = hidden, .out = hidden, .kind = ActivationKind::kSiLU});
  weights.down(ctx, hidden, branch);
  gated_residual(ctx, {.x = x, .y = branch, .gate = {}, .segments = {}});
}

}  // namespace wan
