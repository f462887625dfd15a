#include "models/clip/clip_vision.h"

#include <cmath>

#include "ops/attention.h"
#include "ops/backend.h"
#include "ops/copy.h"
#include "ops/gated_residual.h"
#include "ops/patchify.h"

namespace wan {

ClipVision::ClipVision(const ClipConfig& config, const WeightScope& visual, BlockResidency& residency,
                       int group, std::string tap_prefix)
    : config_(config),
      residency_(residency),
      group_(group),
      tap_prefix_(std::move(tap_prefix)),
      weights_(visual, config) {}

std::vector<BlockId> ClipVision::schedule() const {
  std::vector<BlockId> blocks;
  for (int layer = 0; layer < config_.num_layers; ++layer) blocks.push_back({group_, layer});
  return blocks;
}

void ClipVision::embed(ExecContext& ctx, const TensorView& pixels, const TensorView& tokens) const {
  const Workspace::Scope scope(ctx.workspace);
  const std::int64_t size = config_.image_size(), side = config_.patch;
  const TensorView patches = ctx.workspace.take(DType::kF32, {config_.tokens() - 1, 3 * side * side});
  const int patch = static_cast<int>(side);
  patchify(ctx, {.latent = pixels.reshape({3, 1, size, size}),
                 .patch = {1, patch, patch},
                 .first_token = 0,
                 .tokens = patches});
  const Linear embedding{.weight = weights_->patch_kernel.reshape({config_.dim, patches.dim(1)}), .bias = {}};
  embedding(ctx, patches, tokens.slice(0, 1, tokens.dim(0)));
  copy(ctx, {weights_->class_token.reshape({1, config_.dim}), tokens.slice(0, 0, 1)});
  gated_residual(ctx,
                 {.x = tokens, .y = weights_->positions.reshape(tokens.shape()), .gate = {}, .segments = {}});
  norm_rows(ctx, weights_->norm, ClipConfig::kEps, tokens, tokens);
}

void ClipVision::run_layer(ExecContext& ctx, const ClipLayerWeights& weights, const TensorView& x) const {
  const Workspace::Scope scope(ctx.workspace);
  const std::int64_t tokens = x.dim(0), dim = config_.dim;
  const TensorView normed = ctx.workspace.take(DType::kF32, x.shape());
  const TensorView branch = ctx.workspace.take(DType::kF32, x.shape());
  norm_rows(ctx, weights.attention_norm, ClipConfig::kEps, x, normed);
  const TensorView all = ctx.workspace.take(DType::kF32, {tokens, 3 * dim});
  weights.query_key_value(ctx, normed, all);
  const TensorView heads = all.reshape({tokens, 3, ClipConfig::kHeads, config_.head_dim()});
  attention(ctx, {.q = heads.select(1, 0),
                  .k = heads.select(1, 1),
                  .v = heads.select(1, 2),
                  .scale = 1.0f / std::sqrt(static_cast<float>(config_.head_dim())),
                  .bias = {},
                  .key_bias = {},
                  .out = normed.reshape({tokens, ClipConfig::kHeads, config_.head_dim()})});
  weights.output(ctx, normed, branch);
  gated_residual(ctx, {.x = x, .y = branch, .gate = {}, .segments = {}});

  norm_rows(ctx, weights.ffn_norm, ClipConfig::kEps, x, normed);
  const TensorView hidden = ctx.workspace.take(DType::kF32, {tokens, config_.dim_ffn});
  weights.ffn_in(ctx, normed, hidden, ActivationKind::kGelu);
  weights.ffn_out(ctx, hidden, branch);
  gated_residual(ctx, {.x = x, .y = branch, .gate = {}, .segments = {}});
}

void ClipVision::encode(ExecContext& ctx, const TensorView& pixels, const TensorView& tokens) const {
  ctx.enter(tap_prefix_ + "pre_norm");
  embed(ctx, pixels, tokens);
  ctx.tap(tap_prefix_ + "pre_norm", tokens);
  for (const BlockId block : schedule()) {
    ctx.check_cancelled();
    const std::string name = tap_prefix_ + "transformer." + std::to_string(block.index);
    ctx.enter(name);
    const BlockLease lease = residency_.acquire(block);
    run_layer(ctx, bind_weights<ClipLayerWeights>(lease.leased(), config_), tokens);
    ctx.tap(name, tokens);
  }
}

void normalize_clip_image(const TensorView& pixels) {
  constexpr float kMean[] = {0.48145466f, 0.4578275f, 0.40821073f};
  constexpr float kDeviation[] = {0.26862954f, 0.26130258f, 0.27577711f};
  const std::int64_t area = pixels.dim(1) * pixels.dim(2);
  for (std::int64_t channel = 0; channel < 3; ++channel) {
    float* const plane = pixels.as<float>() + channel * area;
    for (std::int64_t i = 0; i < area; ++i)
      plane[i] = (plane[i] * 0.5f + 0.5f - kMean[channel]) / kDeviation[channel];
  }
}

}  // namespace wan
