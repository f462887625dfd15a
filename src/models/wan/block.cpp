#include "models/wan/block.h"

#include <algorithm>
#include <cmath>

#include "nn/sequence_parallel.h"
#include "ops/attention.h"
#include "ops/backend.h"
#include "ops/gated_residual.h"
#include "ops/layer_norm.h"
#include "ops/linear_combination.h"
#include "ops/rms_norm.h"
#include "ops/rms_norm_rope.h"

namespace wan {

namespace {

// Places of a modulation's six rows.
enum ModulationRow {
  kShiftAttention,
  kScaleAttention,
  kGateAttention,
  kShiftFfn,
  kScaleFfn,
  kGateFfn,
  kModulationRows
};

void add_attention(std::vector<WeightSpec>& layout, const std::string& name, std::int64_t dim) {
  for (const char* projection : {"q", "k", "v", "o"}) {
    layout.push_back({.name = name + "." + projection + ".weight", .shape = {dim, dim}});
    layout.push_back(
        {.name = name + "." + projection + ".bias", .shape = {dim}, .dtype = WeightDType::kFloat32});
  }
  layout.push_back({.name = name + ".norm_q.weight", .shape = {dim}, .dtype = WeightDType::kFloat32});
  layout.push_back({.name = name + ".norm_k.weight", .shape = {dim}, .dtype = WeightDType::kFloat32});
}

/// Reads views back in the order in which the layout listed them.
class InOrder {
 public:
  explicit InOrder(std::span<const TensorView> views) : views_(views) {}
  TensorView next() {
    WAN_ASSERT(position_ < views_.size());
    return views_[position_++];
  }
  Linear linear() {
    const TensorView weight = next();
    return {weight, next()};
  }
  AttentionWeights attention() {
    AttentionWeights weights;
    weights.query = linear();
    weights.key = linear();
    weights.value = linear();
    weights.output = linear();
    weights.norm_query = next();
    weights.norm_key = next();
    return weights;
  }
  bool done() const { return position_ == views_.size(); }

 private:
  std::span<const TensorView> views_;
  std::size_t position_ = 0;
};

/// scratch.modulation[run] = weights.modulation + time_modulation[run].
void modulate(ExecContext& ctx, const WanBlockInput& input, const TensorView& modulation,
              const TensorView& out) {
  for (std::int64_t run = 0; run < out.dim(0); ++run)
    linear_combination(ctx, {.terms = {{1.0, modulation}, {1.0, input.time_modulation.select(0, run)}},
                             .out = out.select(0, run)});
}

TensorView as_heads(const TensorView& rows, const WanConfig& config) {
  return rows.reshape({rows.dim(0), config.num_heads, config.head_dim()});
}

void self_attention(ExecContext& ctx, const WanBlockInput& input, const AttentionWeights& weights,
                    const WanActivations& scratch) {
  const WanConfig& config = input.config;
  weights.query(ctx, scratch.normed, scratch.query);
  weights.key(ctx, scratch.normed, scratch.key);
  weights.value(ctx, scratch.normed, scratch.value);
  const TensorView query = as_heads(scratch.query, config);
  const TensorView key = as_heads(scratch.key, config);
  rms_norm_rope(ctx, {.x = scratch.query,
                      .weight = weights.norm_query,
                      .eps = config.eps,
                      .table = input.rope,
                      .out = query});
  rms_norm_rope(
      ctx,
      {.x = scratch.key, .weight = weights.norm_key, .eps = config.eps, .table = input.rope, .out = key});
  sequence_parallel_attention(ctx, input.layout, query, key, as_heads(scratch.value, config),
                              as_heads(scratch.attended, config));
  weights.output(ctx, scratch.attended, scratch.branch);
}

/// Keys and values of the text for one block; they do not change between steps.
void fill_context_block(ExecContext& ctx, const WanConfig& config, const AttentionWeights& weights,
                        const TensorView& embedded, DType compute, TextContext::BlockEntry& entry) {
  const Shape heads{embedded.dim(0), config.num_heads, config.head_dim()};
  entry.key = Tensor(ctx.backend.allocator(), compute, heads);
  entry.value = Tensor(ctx.backend.allocator(), compute, heads);
  const TensorView key = entry.key.view().reshape(embedded.shape());
  weights.key(ctx, embedded, key);
  rms_norm(ctx, {.x = key, .weight = weights.norm_key, .eps = config.eps, .out = key});
  weights.value(ctx, embedded, entry.value.view().reshape(embedded.shape()));
}

void cross_attention(ExecContext& ctx, const WanConfig& config, const AttentionWeights& weights,
                     const WanActivations& scratch, const TextContext& context,
                     const TextContext::BlockEntry& entry) {
  weights.query(ctx, scratch.normed, scratch.query);
  rms_norm(ctx, {.x = scratch.query, .weight = weights.norm_query, .eps = config.eps, .out = scratch.query});
  const auto scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(config.head_dim())));
  attention(ctx, {.q = as_heads(scratch.query, config),
                  .k = entry.key,
                  .v = entry.value,
                  .scale = scale,
                  .bias = {},
                  .key_bias = context.key_bias,
                  .out = as_heads(scratch.attended, config)});
  weights.output(ctx, scratch.attended, scratch.branch);
}

void feed_forward(ExecContext& ctx, const WanBlockWeights& weights, const WanActivations& scratch) {
  const std::int64_t tokens = scratch.normed.dim(0);
  const std::int64_t step = scratch.hidden.dim(0);
  for (std::int64_t first = 0; first < tokens; first += step) {
    const std::int64_t last = std::min(first + step, tokens);
    const TensorView hidden = scratch.hidden.slice(0, 0, last - first);
    weights.ffn_in(ctx, scratch.normed.slice(0, first, last), hidden, ActivationKind::kGeluTanh);
    weights.ffn_out(ctx, hidden, scratch.branch.slice(0, first, last));
  }
}

}  // namespace

BlockLayout wan_block_layout(const WanConfig& config) {
  const std::int64_t dim = config.dim;
  std::vector<WeightSpec> layout;
  layout.push_back(
      {.name = "modulation", .shape = {1, kModulationRows, dim}, .dtype = WeightDType::kFloat32});
  add_attention(layout, "self_attn", dim);
  layout.push_back({.name = "norm3.weight", .shape = {dim}, .dtype = WeightDType::kFloat32});
  layout.push_back({.name = "norm3.bias", .shape = {dim}, .dtype = WeightDType::kFloat32});
  add_attention(layout, "cross_attn", dim);
  layout.push_back({.name = "ffn.0.weight", .shape = {config.ffn_dim, dim}});
  layout.push_back({.name = "ffn.0.bias", .shape = {config.ffn_dim}, .dtype = WeightDType::kFloat32});
  layout.push_back({.name = "ffn.2.weight", .shape = {dim, config.ffn_dim}});
  layout.push_back({.name = "ffn.2.bias", .shape = {dim}, .dtype = WeightDType::kFloat32});
  return {.prefix = "blocks.{i}.", .weights = std::move(layout)};
}

WanBlockWeights wan_block_weights(std::span<const TensorView> weights) {
  InOrder in_order(weights);
  WanBlockWeights block;
  block.modulation = in_order.next();
  block.self_attention = in_order.attention();
  block.cross_norm_weight = in_order.next();
  block.cross_norm_bias = in_order.next();
  block.cross_attention = in_order.attention();
  block.ffn_in = in_order.linear();
  block.ffn_out = in_order.linear();
  WAN_ASSERT(in_order.done());
  return block;
}

WanActivations take_activations(Workspace& workspace, const WanConfig& config, const ActivationSizes& sizes) {
  const DType compute = sizes.compute;
  const Shape rows{sizes.tokens, config.dim};
  const std::int64_t pieces = sizes.feed_forward_pieces;
  return {.normed = workspace.take(compute, rows),
          .query = workspace.take(compute, rows),
          .key = workspace.take(compute, rows),
          .value = workspace.take(compute, rows),
          .attended = workspace.take(compute, rows),
          .branch = workspace.take(compute, rows),
          .hidden = workspace.take(compute, {(sizes.tokens + pieces - 1) / pieces, config.ffn_dim}),
          .modulation = workspace.take(DType::kF32, {sizes.runs, kModulationRows, config.dim})};
}

void run_wan_block(ExecContext& ctx, const WanBlockInput& input, const WanBlockWeights& weights,
                   const WanActivations& scratch, int index, TextContext& context, const TensorView& x,
                   const std::string& tap_prefix) {
  const WanConfig& config = input.config;
  const RowSegments runs = input.layout.local_runs();
  ctx.enter(tap_prefix + ".self_attn");
  modulate(ctx, input, weights.modulation.reshape({kModulationRows, config.dim}), scratch.modulation);
  const auto row = [&](ModulationRow which) { return scratch.modulation.select(1, which); };

  layer_norm(ctx, {.x = x,
                   .weight = {},
                   .bias = {},
                   .scale = row(kScaleAttention),
                   .shift = row(kShiftAttention),
                   .segments = runs,
                   .eps = config.eps,
                   .out = scratch.normed});
  self_attention(ctx, input, weights.self_attention, scratch);
  ctx.tap(tap_prefix + ".self_attn", scratch.branch);
  gated_residual(ctx, {.x = x, .y = scratch.branch, .gate = row(kGateAttention), .segments = runs});

  ctx.enter(tap_prefix + ".cross_attn");
  TextContext::BlockEntry& entry = context.blocks[static_cast<std::size_t>(index)];
  if (entry.key.empty())
    fill_context_block(ctx, config, weights.cross_attention, context.embedded, scratch.key.dtype(), entry);
  layer_norm(ctx, {.x = x,
                   .weight = weights.cross_norm_weight,
                   .bias = weights.cross_norm_bias,
                   .scale = {},
                   .shift = {},
                   .segments = {},
                   .eps = config.eps,
                   .out = scratch.normed});
  cross_attention(ctx, config, weights.cross_attention, scratch, context, entry);
  ctx.tap(tap_prefix + ".cross_attn", scratch.branch);
  gated_residual(ctx, {.x = x, .y = scratch.branch, .gate = {}, .segments = {}});

  ctx.enter(tap_prefix + ".ffn");
  layer_norm(ctx, {.x = x,
                   .weight = {},
                   .bias = {},
                   .scale = row(kScaleFfn),
                   .shift = row(kShiftFfn),
                   .segments = runs,
                   .eps = config.eps,
                   .out = scratch.normed});
  feed_forward(ctx, weights, scratch);
  ctx.tap(tap_prefix + ".ffn", scratch.branch);
  gated_residual(ctx, {.x = x, .y = scratch.branch, .gate = row(kGateFfn), .segments = runs});
  ctx.tap(tap_prefix, x);
}

}  // namespace wan
