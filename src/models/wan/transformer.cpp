#include "models/wan/transformer.h"

#include <algorithm>
#include <cmath>

#include "nn/rotary_embedding.h"
#include "nn/sequence_parallel.h"
#include "nn/timestep_embedding.h"
#include "ops/backend.h"
#include "ops/copy.h"
#include "ops/gated_residual.h"
#include "ops/layer_norm.h"
#include "ops/linear_combination.h"
#include "ops/patchify.h"

namespace wan {

/// The timesteps' part of every modulation, a row a run of local tokens.
struct WanTransformer::TimeModulation {
  TensorView embedding;   // [runs, dim] f32, for the head
  TensorView projection;  // [runs, 6, dim] f32, for the blocks
};

WanTransformer::WanTransformer(const WanConfig& config, const WeightScope& weights, BlockResidency& residency,
                               int group, DType compute, std::string tap_prefix)
    : config_(config),
      residency_(residency),
      group_(group),
      compute_(compute),
      tap_prefix_(std::move(tap_prefix)),
      weights_(weights, config) {
  if (config.animate)
    motion_encoder_.emplace(*config.animate, weights.child("motion_encoder"),
                            tap_prefix_ + "motion_encoder.");
}

void WanTransformer::embed_text(ExecContext& ctx, const TensorView& encoded, TextContext& context) const {
  const std::int64_t tokens = encoded.dim(0);
  WAN_CHECK(encoded.dim(1) == config_.text_dim, kBadFile,
            "the text encoder gives vectors of {}, the diffusion model takes {}: they do not belong together",
            encoded.dim(1), config_.text_dim);
  WAN_CHECK(tokens >= 1 && tokens <= config_.text_len, kInternal, "[embed_text] {} tokens", tokens);
  const std::int64_t padding = config_.text_len - tokens;
  const std::int64_t rows = tokens + (padding > 0 ? 1 : 0);

  ctx.enter(tap_prefix_ + "text_embedding");
  const Workspace::Scope scope(ctx.workspace);
  Tensor host_rows(DType::kF32, {1, config_.text_dim});
  std::fill_n(host_rows.as<float>(), config_.text_dim, 0.0f);
  const TensorView padded = ctx.workspace.take(DType::kF32, {rows, config_.text_dim});
  copy(ctx, {encoded, padded.slice(0, 0, tokens)});
  if (padding > 0) ctx.backend.upload(host_rows, padded.slice(0, tokens, rows));
  const TensorView hidden = ctx.workspace.take(DType::kF32, {rows, config_.dim});
  weights_->text_in(ctx, padded, hidden, ActivationKind::kGeluTanh);
  context.embedded = Tensor(ctx.backend.allocator(), DType::kF32, {rows, config_.dim});
  weights_->text_out(ctx, hidden, context.embedded);
  ctx.tap(tap_prefix_ + "text_embedding", context.embedded);

  const Tensor bias(DType::kF32, {rows});
  std::fill_n(bias.as<float>(), rows, 0.0f);
  if (padding > 0) bias.as<float>()[tokens] = static_cast<float>(std::log(static_cast<double>(padding)));
  context.key_bias = Tensor(ctx.backend.allocator(), DType::kF32, {rows});
  ctx.backend.upload(bias, context.key_bias);
  context.blocks.resize(static_cast<std::size_t>(config_.num_layers));
}

WanTransformer::TimeModulation WanTransformer::embed_timesteps(ExecContext& ctx,
                                                               const WanForwardInput& input) const {
  const auto rows = input.layout.local_modulation_rows();
  const auto runs = static_cast<std::int64_t>(rows.size());
  std::vector<double> timesteps;
  for (const int row : rows) timesteps.push_back(input.timesteps[static_cast<std::size_t>(row)]);

  ctx.enter(tap_prefix_ + "time_embedding");
  Workspace& workspace = ctx.workspace;
  const TimeModulation time{workspace.take(DType::kF32, {runs, config_.dim}),
                            workspace.take(DType::kF32, {runs, 6, config_.dim})};
  const Workspace::Scope scope(workspace);
  const Tensor sinusoid(DType::kF32, {runs, config_.freq_dim});
  fill_timestep_embedding(timesteps, sinusoid);
  const TensorView on_device = workspace.take(DType::kF32, sinusoid.shape());
  ctx.backend.upload(sinusoid, on_device);
  const TensorView hidden = workspace.take(DType::kF32, {runs, config_.dim});
  weights_->time_in(ctx, on_device, hidden, ActivationKind::kSiLU);
  weights_->time_out(ctx, hidden, time.embedding);
  ctx.tap(tap_prefix_ + "time_embedding", time.embedding);
  activation(ctx, {.x = time.embedding, .kind = ActivationKind::kSiLU, .out = hidden});
  weights_->time_projection(ctx, hidden, time.projection.reshape({runs, 6 * config_.dim}));
  ctx.tap(tap_prefix_ + "time_projection", time.projection);
  return time;
}

void WanTransformer::embed_tokens(ExecContext& ctx, const WanForwardInput& input,
                                  const Conditioning& conditioning, const TensorView& x) const {
  const Shape grid = input.latent.shape();
  const std::int64_t extra_channels = conditioning.channels ? conditioning.channels.dim(0) : 0;
  const std::int64_t width = patch_volume(config_);
  const Linear embedding =
      conditioning.video_embedding.weight ? conditioning.video_embedding : weights_->patch_embedding();
  const std::int64_t channels = embedding.weight.dim(1) / width;
  WAN_CHECK(grid[0] + extra_channels == channels, kInvalidArgument,
            "the model takes {} latent channels, got {} and {} of conditioning", channels, grid[0],
            extra_channels);
  const Range local = input.layout.local();
  const std::int64_t extra = conditioning.extra_tokens ? conditioning.extra_tokens.dim(0) : 0;
  const std::int64_t video_tokens = input.layout.tokens() - extra;
  const std::int64_t video_end = std::clamp(video_tokens, local.begin, local.end);

  ctx.enter(tap_prefix_ + "patch_embedding");
  const Workspace::Scope scope(ctx.workspace);
  if (video_end > local.begin) {
    const std::int64_t count = video_end - local.begin;
    const TensorView patches = ctx.workspace.take(DType::kF32, {count, channels * width});
    const std::int64_t split = grid[0] * width;
    patchify(ctx, {.latent = input.latent,
                   .patch = config_.patch,
                   .first_token = local.begin,
                   .tokens = patches.slice(1, 0, split)});
    if (conditioning.channels)
      patchify(ctx, {.latent = conditioning.channels,
                     .patch = config_.patch,
                     .first_token = local.begin,
                     .tokens = patches.slice(1, split, patches.dim(1))});
    embedding(ctx, patches, x.slice(0, 0, count));
  }
  if (video_end < local.end)
    copy(ctx, {conditioning.extra_tokens.slice(0, video_end - video_tokens, local.end - video_tokens),
               x.slice(0, video_end - local.begin, local.size())});
  ctx.tap(tap_prefix_ + "patch_embedding", x);
  for (const AddedTokens& added : conditioning.added) {
    const std::int64_t begin = std::max(local.begin, added.first);
    const std::int64_t end = std::min(local.end, added.first + added.values.dim(0));
    if (begin >= end) continue;
    gated_residual(ctx, {.x = x.slice(0, begin - local.begin, end - local.begin),
                         .y = added.values.slice(0, begin - added.first, end - added.first),
                         .gate = {},
                         .segments = {}});
  }
}

void WanTransformer::predict(ExecContext& ctx, const WanForwardInput& input, const TensorView& x,
                             const TensorView& time, const TensorView& normed,
                             const GuidanceBranch& branch) const {
  ctx.enter(tap_prefix_ + "head");
  const Workspace::Scope scope(ctx.workspace);
  const std::int64_t runs = time.dim(0);
  const TensorView own = weights_->head_modulation.reshape({2, config_.dim});
  const TensorView sum = ctx.workspace.take(DType::kF32, {runs, 2, config_.dim});
  for (std::int64_t run = 0; run < runs; ++run)
    for (std::int64_t row = 0; row < 2; ++row)
      linear_combination(ctx, {.terms = {{1.0, own.select(0, row)}, {1.0, time.select(0, run)}},
                               .out = sum.select(0, run).select(0, row)});
  const Modulation modulation{.shift = sum.select(1, 0), .scale = sum.select(1, 1), .gate = {}};
  layer_norm(ctx, {.x = x,
                   .weight = {},
                   .bias = {},
                   .scale = modulation.scale,
                   .shift = modulation.shift,
                   .segments = input.layout.local_runs(),
                   .eps = config_.eps,
                   .out = normed});
  const TensorView local = ctx.workspace.take(DType::kF32, {x.dim(0), weights_->head.weight.dim(0)});
  weights_->head(ctx, normed, local);
  const TensorView& extra_tokens = branch.conditioning->extra_tokens;
  const std::int64_t video_tokens = input.layout.tokens() - (extra_tokens ? extra_tokens.dim(0) : 0);
  const Range share = input.layout.local();
  if (share.begin < video_tokens)
    ctx.tap(tap_prefix_ + "head", local.slice(0, 0, std::min(video_tokens, share.end) - share.begin));
  TensorView tokens = local;
  if (input.layout.ranks() > 1) {
    tokens = ctx.workspace.take(DType::kF32, {input.layout.tokens(), local.dim(1)});
    gather_tokens(ctx, input.layout, local, tokens);
  }
  unpatchify(ctx, {.tokens = tokens.slice(0, 0, video_tokens),
                   .patch = config_.patch,
                   .first_token = 0,
                   .latent = branch.velocity});
}

Shape WanTransformer::rope_shape(const TokenLayout& layout) const {
  return {layout.local().size(), config_.head_dim() / 2, 2};
}

Tensor WanTransformer::make_rope_table(ExecContext& ctx, const TokenLayout& layout) const {
  Tensor table(ctx.backend.allocator(), DType::kF32, rope_shape(layout));
  ctx.backend.upload_filled(
      [&](const TensorView& host) { fill_rope_table(layout.local_positions(), config_.head_dim(), host); },
      table);
  return table;
}

void WanTransformer::forward(ExecContext& ctx, const WanForwardInput& input,
                             std::span<const GuidanceBranch> branches) const {
  WAN_ASSERT(!branches.empty());
  Workspace& workspace = ctx.workspace;
  const Workspace::Scope scope(workspace);
  const std::int64_t tokens = input.layout.local().size();

  const TimeModulation time = embed_timesteps(ctx, input);
  std::vector<TensorView> streams;  // one residual stream a branch [n, dim]
  for (std::size_t i = 0; i < branches.size(); ++i) {
    streams.push_back(workspace.take(DType::kF32, {tokens, config_.dim}));
    const auto same = std::find_if(
        branches.begin(), branches.begin() + static_cast<std::ptrdiff_t>(i),
        [&](const GuidanceBranch& earlier) { return earlier.conditioning == branches[i].conditioning; });
    const auto earlier = static_cast<std::size_t>(same - branches.begin());
    if (earlier == i) {
      embed_tokens(ctx, input, *branches[i].conditioning, streams[i]);
    } else {
      copy(ctx, {streams[earlier], streams[i]});
    }
  }
  const WanPass pass{
      .config = config_,
      .layout = input.layout,
      .rope = input.rope,
      .time_modulation = time.projection,
      .scratch = take_activations(workspace, config_, input.layout, compute_, feed_forward_pieces_)};
  const std::size_t own = weight_count<WanBlockWeights>(config_);
  for (int index = 0; index < config_.num_layers; ++index) {
    ctx.check_cancelled();
    const BlockLease lease = residency_.acquire({group_, index});
    const WanBlock block(pass, bind_weights<WanBlockWeights>(lease.leased().first(own), config_), index,
                         tap_prefix_ + "blocks." + std::to_string(index));
    const BlockEnd end{.block = index,
                       .extra_weights = lease.leased().after(own),
                       .layout = input.layout,
                       .scratch = pass.scratch};
    for (std::size_t i = 0; i < branches.size(); ++i) {
      block.run(ctx, *branches[i].context, branches[i].conditioning->image, streams[i]);
      for (BlockStage* stage : branches[i].conditioning->stages)
        if (stage->runs_after(index)) stage->run(ctx, end, streams[i]);
    }
  }
  for (std::size_t i = 0; i < branches.size(); ++i)
    predict(ctx, input, streams[i], time.embedding,
            compute_ == DType::kF32 ? pass.scratch.normed : streams[i], branches[i]);
}

}  // namespace wan
