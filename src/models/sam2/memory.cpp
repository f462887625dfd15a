#include "models/sam2/memory.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "models/sam2/positions.h"
#include "models/sam2/sums.h"
#include "ops/activation.h"
#include "ops/attention.h"
#include "ops/backend.h"
#include "ops/conv3d.h"
#include "ops/copy.h"
#include "ops/gated_residual.h"
#include "ops/rotate_halves.h"

namespace wan::sam2 {

namespace {

constexpr float kAttentionEps = 1e-5f;
constexpr float kConvolutionEps = 1e-6f;

void add_scaled(ExecContext& ctx, const TensorView& x, const TensorView& y, const TensorView& gain) {
  const std::int64_t end = x.dim(0);
  gated_residual(ctx, {.x = x, .y = y, .gate = gain.reshape({1, x.dim(1)}), .segments = {{&end, 1}}});
}

}  // namespace

void MemoryBank::add_key(std::int64_t frame, FrameMemory memory) {
  keys_.insert_or_assign(frame, std::move(memory));
}

void MemoryBank::add(std::int64_t frame, FrameMemory memory) {
  recent_.insert_or_assign(frame, std::move(memory));
  // The next frame attends to those of `memories` - 1 frames before it, and to pointers of most_pointers - 1.
  for (auto& [index, kept] : recent_)
    if (index <= frame + 1 - config_.memories) kept.features = {};
  std::erase_if(recent_, [&](const auto& entry) {
    return entry.first <= frame + 1 - std::max(config_.settings.most_pointers, config_.memories);
  });
}

std::vector<MemoryBank::Seen> MemoryBank::memories_for(std::int64_t frame) const {
  std::vector<Seen> seen;
  for (const auto& [index, memory] : keys_) seen.push_back({&memory.features, 0});
  for (std::int64_t place = 1; place < config_.memories; ++place) {
    const auto found = recent_.find(frame - (config_.memories - place));
    if (found != recent_.end()) seen.push_back({&found->second.features, place});
  }
  return seen;
}

std::vector<const Tensor*> MemoryBank::pointers_for(std::int64_t frame, std::int64_t frames) const {
  std::vector<const Tensor*> pointers;
  for (const auto& [index, memory] : keys_)
    if (index <= frame) pointers.push_back(&memory.pointer);
  for (std::int64_t back = 1; back < std::min(frames, config_.settings.most_pointers); ++back)
    if (const auto found = recent_.find(frame - back); found != recent_.end())
      pointers.push_back(&found->second.pointer);
  return pointers;
}

MemoryEncoder::MemoryEncoder(const Config& config, const WeightScope& top)
    : config_(config), weights_(top.child("memory_encoder"), config) {
  constexpr std::int64_t kMaskKernel = 3;
  const WeightScope encoder = top.child("memory_encoder");
  const std::vector<std::int64_t>& channels = config.mask_channels;
  for (std::size_t i = 0; i + 1 < channels.size(); ++i)
    mask_convolutions_.push_back(
        load_convolution(encoder.child("mask_downsampler.encoder." + std::to_string(3 * i)), channels[i],
                         channels[i + 1], kMaskKernel));
  for (std::int64_t i = 0; i < config.fuser_layers; ++i) {
    const WeightScope layer = encoder.child("fuser.layers." + std::to_string(i));
    fuser_.emplace_back(layer, config);
    fuser_convolutions_.push_back(
        load_channel_convolution(layer.child("dwconv"), config.dim, config.fuser_kernel));
  }
}

void MemoryEncoder::shrink_mask(ExecContext& ctx, const TensorView& mask, const TensorView& out) const {
  const Workspace::Scope scope(ctx.workspace);
  std::int64_t size = config_.settings.image_size;
  TensorView x = mask.reshape({1, size, size, 1});
  for (std::size_t i = 0; i < mask_convolutions_.size(); ++i) {
    const std::int64_t channels = config_.mask_channels[i + 1];
    size /= 2;
    const TensorView halved = ctx.workspace.take(DType::kF32, {1, size, size, channels});
    conv3d(ctx, {.x = x,
                 .weight = mask_convolutions_[i].weight,
                 .bias = mask_convolutions_[i].bias,
                 .stride = {1, 2, 2},
                 .padding = {1, 1, 1, 1},
                 .residual = {},
                 .out = halved});
    const TensorView rows = halved.reshape({size * size, channels});
    norm_rows(ctx, weights_->mask_norms[i], kConvolutionEps, rows, rows);
    activation(ctx, {.x = rows, .kind = ActivationKind::kGelu, .out = rows});
    x = halved;
  }
  weights_->mask_out(ctx, x.reshape({size * size, x.dim(3)}), out);
}

void MemoryEncoder::fuse(ExecContext& ctx, std::size_t layer, const TensorView& x) const {
  const Workspace::Scope scope(ctx.workspace);
  const FuserLayerWeights& weights = *fuser_[layer];
  const std::int64_t size = config_.grid(), dim = config_.dim;
  const int padding = static_cast<int>(config_.fuser_kernel / 2);
  const Shape picture{1, size, size, dim};
  const TensorView branch = ctx.workspace.take(DType::kF32, x.shape());
  conv3d(ctx, {.x = x.reshape(picture),
               .weight = fuser_convolutions_[layer].weight,
               .bias = fuser_convolutions_[layer].bias,
               .padding = {padding, padding, padding, padding},
               .residual = {},
               .out = branch.reshape(picture)});
  norm_rows(ctx, weights.norm, kConvolutionEps, branch, branch);
  const TensorView hidden = ctx.workspace.take(weights.in.weight.dtype(), {x.dim(0), config_.fuser_hidden});
  weights.in(ctx, branch, hidden, ActivationKind::kGelu);
  weights.out(ctx, hidden, branch);
  add_scaled(ctx, x, branch, weights.gain);
}

void MemoryEncoder::encode(ExecContext& ctx, const TensorView& picture, const TensorView& mask,
                           const TensorView& out) const {
  const Workspace::Scope scope(ctx.workspace);
  ctx.enter("memory_encoder");
  const TensorView x = ctx.workspace.take(DType::kF32, picture.shape());
  const TensorView shrunk = ctx.workspace.take(DType::kF32, picture.shape());
  weights_->picture(ctx, picture, x);
  shrink_mask(ctx, mask, shrunk);
  add(ctx, x, shrunk);
  for (std::size_t i = 0; i < fuser_.size(); ++i) fuse(ctx, i, x);
  const TensorView exact = ctx.workspace.take(DType::kF32, out.shape());
  weights_->output(ctx, x, exact);
  ctx.tap("memory_encoder", exact);
  copy(ctx, {exact, out});
}

MemoryAttention::MemoryAttention(const Config& config, const WeightScope& top) : config_(config) {
  const WeightScope scope = top.child("memory_attention");
  const std::int64_t dim = config.dim, size = config.grid(), heads = config.settings.memory_heads,
                     tokens = size * size;
  for (std::int64_t i = 0; i < config.memory_layers; ++i) {
    const WeightScope layer = scope.child("layers." + std::to_string(i));
    layers_.push_back(
        {.weights = LoadedWeights<MemoryLayerWeights>(layer, config),
         .self_query = load_rotated(layer.child("self_attn.q_proj"), dim, dim, heads),
         .self_key = load_rotated(layer.child("self_attn.k_proj"), dim, dim, heads),
         .cross_query = load_rotated(layer.child("cross_attn_image.q_proj"), dim, dim, heads),
         .cross_key = load_rotated(layer.child("cross_attn_image.k_proj"), config.memory_dim, dim, heads)});
  }
  norm_weight_ = scope.load("norm.weight", {dim}, WeightDType::kFloat32);
  norm_bias_ = scope.load("norm.bias", {dim}, WeightDType::kFloat32);
  norm_ = {.weight = norm_weight_, .bias = norm_bias_};
  picture_positions_ = scope.make(DType::kF32, {tokens, dim}, [&](const TensorView& made) {
    constexpr float kShare = 0.1f;
    sine_positions(size, made);
    std::transform(made.as<float>(), made.as<float>() + made.elements(), made.as<float>(),
                   [](float value) { return kShare * value; });
  });
  const Tensor times = top.on_host().load("maskmem_tpos_enc", {config.memories, 1, 1, config.memory_dim},
                                          WeightDType::kFloat32);
  if (!times.empty())
    memory_positions_ =
        top.make(DType::kF32, {config.memories, tokens, config.memory_dim}, [&](const TensorView& made) {
          for (std::int64_t place = 0; place < config.memories; ++place) {
            const TensorView rows = made.select(0, place);
            sine_positions(size, rows);
            // The file's first is the newest frame's, its last the key frames'.
            const float* const time = times.as<float>() + (config.memories - 1 - place) * config.memory_dim;
            for (std::int64_t i = 0; i < rows.elements(); ++i)
              rows.as<float>()[i] += time[i % config.memory_dim];
          }
        });
  rotations_ = top.make(DType::kF32, {tokens, dim / heads / 2, 2},
                        [&](const TensorView& made) { rotary_table(size, made); });
}

void MemoryAttention::gather(ExecContext& ctx, std::span<const MemoryBank::Seen> memories,
                             std::span<const Tensor* const> pointers, const TensorView& values,
                             const TensorView& keys) const {
  const std::int64_t tokens = config_.grid() * config_.grid(), parts = config_.dim / config_.memory_dim;
  std::int64_t row = 0;
  for (const MemoryBank::Seen& seen : memories) {
    const TensorView to = values.slice(0, row, row + tokens), key = keys.slice(0, row, row + tokens);
    copy(ctx, {*seen.features, to});
    copy(ctx, {to, key});
    add(ctx, key, memory_positions_.view().select(0, seen.place));
    row += tokens;
  }
  for (const Tensor* pointer : pointers) {  // as several tokens, without a place
    const TensorView rows = pointer->view().reshape({parts, config_.memory_dim});
    copy(ctx, {rows, values.slice(0, row, row + parts)});
    copy(ctx, {rows, keys.slice(0, row, row + parts)});
    row += parts;
  }
}

void MemoryAttention::run_attention(ExecContext& ctx, const TensorView& queries, const TensorView& keys,
                                    const TensorView& values, std::int64_t pictures,
                                    const TensorView& out) const {
  const std::int64_t tokens = queries.dim(0), heads = config_.settings.memory_heads,
                     width = config_.dim / heads;
  const auto by_head = [&](const TensorView& rows) { return rows.reshape({rows.dim(0), heads, width}); };
  const auto rotate = [&](const TensorView& rows) {
    rotate_halves(ctx, {.x = by_head(rows), .table = rotations_, .out = by_head(rows)});
  };
  rotate(queries);
  for (std::int64_t i = 0; i < pictures; ++i) rotate(keys.slice(0, i * tokens, (i + 1) * tokens));
  attention(ctx, {.q = by_head(queries),
                  .k = by_head(keys),
                  .v = by_head(values),
                  .scale = 1.0f / std::sqrt(static_cast<float>(width)),
                  .bias = {},
                  .key_bias = {},
                  .out = by_head(out)});
}

void MemoryAttention::run_layer(ExecContext& ctx, const Layer& layer, const TensorView& values,
                                const TensorView& keys, std::int64_t pictures, const TensorView& x) const {
  const Workspace::Scope scope(ctx.workspace);
  const MemoryLayerWeights& weights = *layer.weights;
  const DType type = layer.self_query.weight.dtype();
  const std::int64_t tokens = x.dim(0), dim = config_.dim;
  const TensorView normed = ctx.workspace.take(DType::kF32, x.shape());
  const TensorView branch = ctx.workspace.take(DType::kF32, x.shape());
  const TensorView q = ctx.workspace.take(type, x.shape());
  const TensorView attended = ctx.workspace.take(type, x.shape());

  norm_rows(ctx, weights.self_norm, kAttentionEps, x, normed);
  {
    const Workspace::Scope inner(ctx.workspace);
    const TensorView k = ctx.workspace.take(type, x.shape()), v = ctx.workspace.take(type, x.shape());
    layer.self_query.linear()(ctx, normed, q);
    layer.self_key.linear()(ctx, normed, k);
    weights.self_value(ctx, normed, v);
    run_attention(ctx, q, k, v, 1, attended);
  }
  weights.self_output(ctx, attended, branch);
  add(ctx, x, branch);

  norm_rows(ctx, weights.cross_norm, kAttentionEps, x, normed);
  {
    const Workspace::Scope inner(ctx.workspace);
    const TensorView k = ctx.workspace.take(type, {keys.dim(0), dim});
    const TensorView v = ctx.workspace.take(type, {keys.dim(0), dim});
    layer.cross_query.linear()(ctx, normed, q);
    layer.cross_key.linear()(ctx, keys, k);
    weights.cross_value(ctx, values, v);
    run_attention(ctx, q, k, v, pictures, attended);
  }
  weights.cross_output(ctx, attended, branch);
  add(ctx, x, branch);

  norm_rows(ctx, weights.ffn_norm, kAttentionEps, x, normed);
  const TensorView hidden =
      ctx.workspace.take(weights.ffn_in.weight.dtype(), {tokens, config_.memory_hidden});
  weights.ffn_in(ctx, normed, hidden, ActivationKind::kReLU);
  weights.ffn_out(ctx, hidden, branch);
  add(ctx, x, branch);
}

void MemoryAttention::attend(ExecContext& ctx, const TensorView& picture,
                             std::span<const MemoryBank::Seen> memories,
                             std::span<const Tensor* const> pointers, const TensorView& out) const {
  const Workspace::Scope scope(ctx.workspace);
  ctx.enter("memory_attention");
  const auto count = [](const auto& list) { return static_cast<std::int64_t>(list.size()); };
  const std::int64_t rows =
      count(memories) * picture.dim(0) + count(pointers) * (config_.dim / config_.memory_dim);
  const TensorView values = ctx.workspace.take(DType::kF32, {rows, config_.memory_dim});
  const TensorView keys = ctx.workspace.take(DType::kF32, {rows, config_.memory_dim});
  gather(ctx, memories, pointers, values, keys);
  const TensorView x = ctx.workspace.take(DType::kF32, picture.shape());
  copy(ctx, {picture, x});
  add(ctx, x, picture_positions_);
  for (const Layer& layer : layers_) {
    ctx.check_cancelled();
    run_layer(ctx, layer, values, keys, count(memories), x);
  }
  norm_rows(ctx, norm_, kAttentionEps, x, out);
  ctx.tap("memory_attention", out);
}

}  // namespace wan::sam2
