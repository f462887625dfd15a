#include "models/wan/transformer.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "nn/rotary_embedding.h"
#include "nn/sequence_parallel.h"
#include "nn/timestep_embedding.h"
#include "ops/backend.h"
#include "ops/copy.h"
#include "ops/layer_norm.h"
#include "ops/linear_combination.h"
#include "ops/patchify.h"

namespace wan {

namespace {

std::int64_t patch_volume(const WanConfig& config) {
  return std::accumulate(config.patch.begin(), config.patch.end(), std::int64_t{1}, std::multiplies<>());
}

}  // namespace

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
      tap_prefix_(std::move(tap_prefix)) {
  const std::int64_t dim = config.dim;
  const auto load = [&](const std::string& name, const Shape& shape, WeightDType dtype) {
    owned_.push_back(weights.load({.name = name, .shape = shape, .dtype = dtype}));
    return owned_.back().view();
  };
  // The embeddings and the head run in f32 in the official code whatever the blocks' dtype: they are small.
  const auto load_linear = [&](const std::string& name, std::int64_t out, std::int64_t in) -> Linear {
    const TensorView weight = load(name + ".weight", {out, in}, WeightDType::kFloat32);
    return {weight, load(name + ".bias", {out}, WeightDType::kFloat32)};
  };
  const PatchSize& patch = config.patch;
  const TensorView patch_weight = load(
      "patch_embedding.weight", {dim, config.in_dim, patch[0], patch[1], patch[2]}, WeightDType::kFloat32);
  if (!patch_weight.empty())
    patch_embedding_.weight = patch_weight.reshape({dim, config.in_dim * patch_volume(config)});
  patch_embedding_.bias = load("patch_embedding.bias", {dim}, WeightDType::kFloat32);
  text_in_ = load_linear("text_embedding.0", dim, config.text_dim);
  text_out_ = load_linear("text_embedding.2", dim, dim);
  time_in_ = load_linear("time_embedding.0", dim, config.freq_dim);
  time_out_ = load_linear("time_embedding.2", dim, dim);
  time_projection_ = load_linear("time_projection.1", 6 * dim, dim);
  head_ = load_linear("head.head", patch_volume(config) * config.out_dim, dim);
  const TensorView modulation = load("head.modulation", {1, 2, dim}, WeightDType::kFloat32);
  if (!modulation.empty()) head_modulation_ = modulation.reshape({2, dim});
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
  text_in_(ctx, padded, hidden, ActivationKind::kGeluTanh);
  context.embedded = Tensor(ctx.backend.allocator(), DType::kF32, {rows, config_.dim});
  text_out_(ctx, hidden, context.embedded);
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
  time_in_(ctx, on_device, hidden, ActivationKind::kSiLU);
  time_out_(ctx, hidden, time.embedding);
  ctx.tap(tap_prefix_ + "time_embedding", time.embedding);
  activation(ctx, {.x = time.embedding, .kind = ActivationKind::kSiLU, .out = hidden});
  time_projection_(ctx, hidden, time.projection.reshape({runs, 6 * config_.dim}));
  ctx.tap(tap_prefix_ + "time_projection", time.projection);
  return time;
}

void WanTransformer::embed_tokens(ExecContext& ctx, const WanForwardInput& input, const TensorView& x) const {
  const Conditioning& conditioning = input.conditioning;
  const Shape grid = input.latent.shape();
  const std::int64_t extra_channels = conditioning.channels ? conditioning.channels.dim(0) : 0;
  WAN_CHECK(grid[0] + extra_channels == config_.in_dim, kInvalidArgument,
            "the model takes {} latent channels, got {} and {} of conditioning", config_.in_dim, grid[0],
            extra_channels);
  const Range local = input.layout.local();
  const std::int64_t extra = conditioning.extra_tokens ? conditioning.extra_tokens.dim(0) : 0;
  const std::int64_t video_tokens = input.layout.tokens() - extra;
  const std::int64_t video_end = std::clamp(video_tokens, local.begin, local.end);

  ctx.enter(tap_prefix_ + "patch_embedding");
  const Workspace::Scope scope(ctx.workspace);
  if (video_end > local.begin) {
    const std::int64_t count = video_end - local.begin;
    const std::int64_t width = patch_volume(config_);
    const TensorView patches = ctx.workspace.take(DType::kF32, {count, config_.in_dim * width});
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
    patch_embedding_(ctx, patches, x.slice(0, 0, count));
  }
  if (video_end < local.end)
    copy(ctx, {conditioning.extra_tokens.slice(0, video_end - video_tokens, local.end - video_tokens),
               x.slice(0, video_end - local.begin, local.size())});
  ctx.tap(tap_prefix_ + "patch_embedding", x);
}

void WanTransformer::predict(ExecContext& ctx, const WanForwardInput& input, const TensorView& x,
                             const TensorView& time, const TensorView& normed,
                             const TensorView& velocity) const {
  ctx.enter(tap_prefix_ + "head");
  const Workspace::Scope scope(ctx.workspace);
  const std::int64_t runs = time.dim(0);
  const TensorView modulation = ctx.workspace.take(DType::kF32, {runs, 2, config_.dim});
  for (std::int64_t run = 0; run < runs; ++run)
    for (std::int64_t row = 0; row < 2; ++row)
      linear_combination(ctx, {.terms = {{1.0, head_modulation_.select(0, row)}, {1.0, time.select(0, run)}},
                               .out = modulation.select(0, run).select(0, row)});
  layer_norm(ctx, {.x = x,
                   .weight = {},
                   .bias = {},
                   .scale = modulation.select(1, 1),
                   .shift = modulation.select(1, 0),
                   .segments = input.layout.local_runs(),
                   .eps = config_.eps,
                   .out = normed});
  const TensorView local = ctx.workspace.take(DType::kF32, {x.dim(0), head_.weight.dim(0)});
  head_(ctx, normed, local);
  ctx.tap(tap_prefix_ + "head", local);
  TensorView tokens = local;
  if (input.layout.ranks() > 1) {
    tokens = ctx.workspace.take(DType::kF32, {input.layout.tokens(), local.dim(1)});
    gather_tokens(ctx, input.layout, local, tokens);
  }
  const std::int64_t extra = input.conditioning.extra_tokens ? input.conditioning.extra_tokens.dim(0) : 0;
  unpatchify(ctx, {.tokens = tokens.slice(0, 0, input.layout.tokens() - extra),
                   .patch = config_.patch,
                   .first_token = 0,
                   .latent = velocity});
}

Shape WanTransformer::rope_shape(const TokenLayout& layout) const {
  return {layout.local().size(), config_.head_dim() / 2, 2};
}

Tensor WanTransformer::make_rope_table(ExecContext& ctx, const TokenLayout& layout) const {
  const Tensor host(DType::kF32, rope_shape(layout));
  fill_rope_table(layout.local_positions(), config_.head_dim(), host);
  Tensor table(ctx.backend.allocator(), DType::kF32, host.shape());
  ctx.backend.upload(host, table);
  return table;
}

void WanTransformer::forward(ExecContext& ctx, const WanForwardInput& input,
                             std::span<const GuidanceBranch> branches) const {
  WAN_ASSERT(!branches.empty());
  Workspace& workspace = ctx.workspace;
  const Workspace::Scope scope(workspace);
  const std::int64_t tokens = input.layout.local().size();
  const auto runs = static_cast<std::int64_t>(input.layout.local_modulation_rows().size());

  const TimeModulation time = embed_timesteps(ctx, input);
  std::vector<TensorView> streams;  // one residual stream a branch [n, dim]
  for (std::size_t i = 0; i < branches.size(); ++i) {
    streams.push_back(workspace.take(DType::kF32, {tokens, config_.dim}));
    if (i == 0) {
      embed_tokens(ctx, input, streams[0]);
    } else {
      copy(ctx, {streams[0], streams[i]});
    }
  }
  const WanActivations scratch = take_activations(
      workspace, config_,
      {.tokens = tokens, .runs = runs, .compute = compute_, .feed_forward_pieces = feed_forward_pieces_});
  const WanBlockInput block_input{config_, input.layout, input.rope, time.projection};
  for (int block = 0; block < config_.num_layers; ++block) {
    ctx.check_cancelled();
    const BlockLease lease = residency_.acquire({group_, block});
    const WanBlockWeights weights = wan_block_weights(lease.weights());
    const std::string name = tap_prefix_ + "blocks." + std::to_string(block);
    for (std::size_t i = 0; i < branches.size(); ++i) {
      run_wan_block(ctx, block_input, weights, scratch, block, *branches[i].context, streams[i], name);
      for (BlockStage* stage : input.conditioning.stages)
        if (stage->runs_after(block)) stage->run(ctx, block, input.layout, streams[i]);
    }
  }
  for (std::size_t i = 0; i < branches.size(); ++i)
    predict(ctx, input, streams[i], time.embedding,
            scratch.normed.dtype() == DType::kF32 ? scratch.normed : streams[i], branches[i].velocity);
}

}  // namespace wan
