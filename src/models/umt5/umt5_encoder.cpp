#include "models/umt5/umt5_encoder.h"

#include <algorithm>
#include <cmath>

#include "nn/linear.h"
#include "ops/attention.h"
#include "ops/backend.h"
#include "ops/copy.h"
#include "ops/embedding.h"
#include "ops/gated_gelu.h"
#include "ops/gated_residual.h"
#include "ops/rms_norm.h"
#include "weights/convert.h"

namespace wan {

namespace {

constexpr float kEps = 1e-6f;

// Places of a layer's weights in its layout.
enum Umt5Weight { kNorm1, kQuery, kKey, kValue, kOutput, kNorm2, kGate, kFfnIn, kFfnOut, kPositions };

Shape required_shape(const WeightScope& weights, const std::string& name) {
  const auto shape = weights.shape_of(name);
  WAN_CHECK(
      shape && shape->rank() == 2, kBadFile,
      "{}: tensor {} is missing or no matrix; expected a umT5 encoder (models_t5_umt5-xxl-enc-bf16.pth)",
      weights.report().checkpoint().path(), name);
  return *shape;
}

/// Scratch of a layer. n = tokens.
struct Umt5Activations {
  TensorView normed;     // [n, dim]
  TensorView query;      // [n, dim_attention]
  TensorView key;        // [n, dim_attention]
  TensorView value;      // [n, dim_attention]
  TensorView attended;   // [n, dim_attention]
  TensorView branch;     // [n, dim]
  TensorView gate;       // [n, dim_ffn]
  TensorView hidden;     // [n, dim_ffn]
  TensorView bias_rows;  // [n * n, heads]
  TensorView bias;       // [heads, n, n]
};

Umt5Activations take_activations(Workspace& workspace, const Umt5Config& config, std::int64_t n) {
  const auto take = [&](std::int64_t width) { return workspace.take(DType::kF32, {n, width}); };
  return {.normed = take(config.dim),
          .query = take(config.dim_attention),
          .key = take(config.dim_attention),
          .value = take(config.dim_attention),
          .attended = take(config.dim_attention),
          .branch = take(config.dim),
          .gate = take(config.dim_ffn),
          .hidden = take(config.dim_ffn),
          .bias_rows = workspace.take(DType::kF32, {n * n, config.num_heads}),
          .bias = workspace.take(DType::kF32, {config.num_heads, n, n})};
}

std::vector<std::int64_t> relative_buckets(std::int64_t n, std::int64_t num_buckets) {
  std::vector<std::int64_t> buckets;
  buckets.reserve(static_cast<std::size_t>(n * n));
  for (std::int64_t query = 0; query < n; ++query)
    for (std::int64_t key = 0; key < n; ++key)
      buckets.push_back(relative_position_bucket(key - query, num_buckets));
  return buckets;
}

void run_layer(ExecContext& ctx, const Umt5Config& config, std::span<const TensorView> weights,
               std::span<const std::int64_t> buckets, const Umt5Activations& scratch, const TensorView& x,
               const std::string& name) {
  const std::int64_t n = x.dim(0);
  const auto project = [&](Umt5Weight which, const TensorView& from, const TensorView& to) {
    linear(ctx, {.x = from, .weight = weights[which], .bias = {}, .out = to});
  };
  const auto heads = [&](const TensorView& rows) {
    return rows.reshape({n, config.num_heads, config.head_dim()});
  };

  ctx.enter(name + ".attn");
  rms_norm(ctx, {.x = x, .weight = weights[kNorm1], .eps = kEps, .out = scratch.normed});
  project(kQuery, scratch.normed, scratch.query);
  project(kKey, scratch.normed, scratch.key);
  project(kValue, scratch.normed, scratch.value);
  embedding(ctx, {.table = weights[kPositions], .ids = buckets, .out = scratch.bias_rows});
  copy(ctx, {scratch.bias_rows.reshape({n, n, config.num_heads}).permute({2, 0, 1}), scratch.bias});
  // T5 does not scale the scores.
  attention(ctx, {.q = heads(scratch.query),
                  .k = heads(scratch.key),
                  .v = heads(scratch.value),
                  .scale = 1.0f,
                  .bias = scratch.bias,
                  .key_bias = {},
                  .out = heads(scratch.attended)});
  project(kOutput, scratch.attended, scratch.branch);
  ctx.tap(name + ".attn", scratch.branch);
  gated_residual(ctx, {.x = x, .y = scratch.branch, .gate = {}, .segments = {}});

  ctx.enter(name + ".ffn");
  rms_norm(ctx, {.x = x, .weight = weights[kNorm2], .eps = kEps, .out = scratch.normed});
  project(kGate, scratch.normed, scratch.gate);
  project(kFfnIn, scratch.normed, scratch.hidden);
  gated_gelu(ctx, {.gate = scratch.gate, .x = scratch.hidden, .out = scratch.hidden});
  project(kFfnOut, scratch.hidden, scratch.branch);
  ctx.tap(name + ".ffn", scratch.branch);
  gated_residual(ctx, {.x = x, .y = scratch.branch, .gate = {}, .segments = {}});
  ctx.tap(name, x);
}

}  // namespace

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

Umt5Config umt5_config(const WeightScope& weights) {
  Umt5Config config{};
  const Shape embedding = required_shape(weights, "token_embedding.weight");
  config.vocabulary = embedding[0];
  config.dim = embedding[1];
  config.dim_attention = required_shape(weights, "blocks.0.attn.q.weight")[0];
  config.dim_ffn = required_shape(weights, "blocks.0.ffn.gate.0.weight")[0];
  const Shape positions = required_shape(weights, "blocks.0.pos_embedding.embedding.weight");
  config.num_buckets = positions[0];
  config.num_heads = positions[1];
  config.num_layers = weights.count_children("blocks");
  WAN_CHECK(config.num_heads > 0 && config.dim_attention % config.num_heads == 0 && config.num_buckets >= 4 &&
                config.num_buckets % 4 == 0 && config.num_layers > 0 && config.dim > 0,
            kBadFile,
            "{}: the dimensions of the text encoder contradict one another ({} heads, width {}, {} buckets)",
            weights.report().checkpoint().path(), config.num_heads, config.dim_attention, config.num_buckets);
  return config;
}

BlockLayout umt5_block_layout(const Umt5Config& config) {
  const std::int64_t dim = config.dim;
  const std::int64_t inner = config.dim_attention;
  std::vector<WeightSpec> weights = {{.name = "norm1.weight", .shape = {dim}, .dtype = WeightDType::kFloat32},
                                     {.name = "attn.q.weight", .shape = {inner, dim}},
                                     {.name = "attn.k.weight", .shape = {inner, dim}},
                                     {.name = "attn.v.weight", .shape = {inner, dim}},
                                     {.name = "attn.o.weight", .shape = {dim, inner}},
                                     {.name = "norm2.weight", .shape = {dim}, .dtype = WeightDType::kFloat32},
                                     {.name = "ffn.gate.0.weight", .shape = {config.dim_ffn, dim}},
                                     {.name = "ffn.fc1.weight", .shape = {config.dim_ffn, dim}},
                                     {.name = "ffn.fc2.weight", .shape = {dim, config.dim_ffn}},
                                     {.name = "pos_embedding.embedding.weight",
                                      .shape = {config.num_buckets, config.num_heads},
                                      .dtype = WeightDType::kFloat32}};
  return {.prefix = "blocks.{i}.", .weights = std::move(weights)};
}

Umt5Encoder::Umt5Encoder(const Umt5Config& config, const WeightScope& weights, BlockResidency& residency,
                         int group, std::string tap_prefix)
    : config_(config),
      residency_(residency),
      group_(group),
      tap_prefix_(std::move(tap_prefix)),
      checkpoint_(weights.report().checkpoint()) {
  token_embedding_ =
      weights.declare({.name = "token_embedding.weight", .shape = {config.vocabulary, config.dim}});
  final_norm_ = weights.load({.name = "norm.weight", .shape = {config.dim}, .dtype = WeightDType::kFloat32});
}

std::vector<BlockId> Umt5Encoder::schedule() const {
  std::vector<BlockId> blocks;
  for (int layer = 0; layer < config_.num_layers; ++layer) blocks.push_back({group_, layer});
  return blocks;
}

void Umt5Encoder::encode(ExecContext& ctx, std::span<const std::int64_t> ids, const TensorView& out) const {
  const auto n = static_cast<std::int64_t>(ids.size());
  WAN_CHECK(out.shape() == (Shape{n, config_.dim}), kInternal, "[umt5] {} tokens into {}", n,
            out.shape().to_string());
  const Tensor rows(DType::kF32, {n, config_.dim});
  const TensorView table = token_embedding_->view();
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int64_t id = ids[static_cast<std::size_t>(i)];
    WAN_CHECK(
        id >= 0 && id < config_.vocabulary, kBadFile,
        "token {} is outside the text encoder's {} rows: the tokenizer does not belong to this text encoder",
        id, config_.vocabulary);
    convert(table.slice(0, id, id + 1), rows.view().slice(0, i, i + 1));
  }
  checkpoint_.check_read(*token_embedding_);
  ctx.enter(tap_prefix_ + "token_embedding");
  ctx.backend.upload(rows, out);
  ctx.tap(tap_prefix_ + "token_embedding", out);

  const Workspace::Scope scope(ctx.workspace);
  const std::vector<std::int64_t> buckets = relative_buckets(n, config_.num_buckets);
  const Umt5Activations scratch = take_activations(ctx.workspace, config_, n);
  for (const BlockId block : schedule()) {
    ctx.check_cancelled();
    const BlockLease lease = residency_.acquire(block);
    run_layer(ctx, config_, lease.weights(), buckets, scratch, out,
              tap_prefix_ + "blocks." + std::to_string(block.index));
  }
  ctx.enter(tap_prefix_ + "norm");
  rms_norm(ctx, {.x = out, .weight = final_norm_, .eps = kEps, .out = out});
  ctx.tap(tap_prefix_ + "norm", out);
}

}  // namespace wan
