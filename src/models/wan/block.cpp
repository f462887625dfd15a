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

WanActivations take_activations(Workspace& workspace, const WanConfig& config, const TokenLayout& layout,
                                DType compute, int feed_forward_pieces) {
  const std::int64_t tokens = layout.local().size();
  const auto runs = static_cast<std::int64_t>(layout.local_modulation_rows().size());
  const Shape rows{tokens, config.dim};
  const Shape hidden{(tokens + feed_forward_pieces - 1) / feed_forward_pieces, config.ffn_dim};
  // Each of the three begins where memory of its own would.
  const auto apart = static_cast<std::int64_t>(Workspace::padded_bytes(compute, rows) / dtype_size(compute));
  const TensorView normed = workspace.take(compute, rows);
  const TensorView shared = workspace.take(compute, {std::max(3 * apart, hidden.elements())});
  const auto part = [&](std::int64_t begin, const Shape& shape) {
    return shared.slice(0, begin, begin + shape.elements()).reshape(shape);
  };
  return {.normed = normed,
          .query = part(0, rows),
          .key = part(apart, rows),
          .value = part(2 * apart, rows),
          .attended = normed,
          .branch = part(0, rows),
          .hidden = part(0, hidden),
          .fed = normed,
          .modulation = workspace.take(DType::kF32, {runs, kModulationRows, config.dim})};
}

WanBlock::WanBlock(const WanPass& pass, const WanBlockWeights& weights, int index, std::string name)
    : pass_(pass), weights_(weights), index_(index), name_(std::move(name)) {}

void WanBlock::run(ExecContext& ctx, TextContext& text, ImageContext* image, const TensorView& x) const {
  const RowSegments runs = pass_.layout.local_runs();
  const TensorView& branch = pass_.scratch.branch;
  const TensorView& fed = pass_.scratch.fed;

  ctx.enter(name_ + ".self_attn");
  const auto [attention, ffn] = modulations(ctx);
  norm(ctx, x, attention);
  self_attention(ctx);
  ctx.tap(name_ + ".self_attn", branch);
  gated_residual(ctx, {.x = x, .y = branch, .gate = attention.gate, .segments = runs});

  ctx.enter(name_ + ".cross_attn");
  const TextContext::BlockEntry& keys_and_values = project_text(ctx, text);
  const TextContext::BlockEntry* const of_image = image != nullptr ? &project_image(ctx, *image) : nullptr;
  cross_norm(ctx, x);
  cross_attention(ctx, keys_and_values, text.key_bias, of_image);
  ctx.tap(name_ + ".cross_attn", branch);
  gated_residual(ctx, {.x = x, .y = branch, .gate = {}, .segments = {}});

  ctx.enter(name_ + ".ffn");
  norm(ctx, x, ffn);
  feed_forward(ctx);
  ctx.tap(name_ + ".ffn", fed);
  gated_residual(ctx, {.x = x, .y = fed, .gate = ffn.gate, .segments = runs});
  ctx.tap(name_, x);
}

WanBlock::Modulations WanBlock::modulations(ExecContext& ctx) const {
  const TensorView own = weights_.modulation.reshape({kModulationRows, pass_.config.dim});
  const TensorView& sum = pass_.scratch.modulation;  // [runs, 6, dim]
  for (std::int64_t run = 0; run < sum.dim(0); ++run)
    linear_combination(
        ctx, {.terms = {{1.0, own}, {1.0, pass_.time_modulation.select(0, run)}}, .out = sum.select(0, run)});
  return {.attention = {.shift = sum.select(1, 0), .scale = sum.select(1, 1), .gate = sum.select(1, 2)},
          .feed_forward = {.shift = sum.select(1, 3), .scale = sum.select(1, 4), .gate = sum.select(1, 5)}};
}

void WanBlock::norm(ExecContext& ctx, const TensorView& x, const Modulation& modulation) const {
  layer_norm(ctx, {.x = x,
                   .weight = {},
                   .bias = {},
                   .scale = modulation.scale,
                   .shift = modulation.shift,
                   .segments = pass_.layout.local_runs(),
                   .eps = pass_.config.eps,
                   .out = pass_.scratch.normed});
}

void WanBlock::cross_norm(ExecContext& ctx, const TensorView& x) const {
  layer_norm(ctx, {.x = x,
                   .weight = weights_.cross_norm_weight,
                   .bias = weights_.cross_norm_bias,
                   .scale = {},
                   .shift = {},
                   .segments = {},
                   .eps = pass_.config.eps,
                   .out = pass_.scratch.normed});
}

void WanBlock::self_attention(ExecContext& ctx) const {
  const AttentionWeights& weights = weights_.self_attention;
  const WanActivations& scratch = pass_.scratch;
  SequenceParallelAttention attention(ctx, pass_.layout, scratch.query.dtype(), pass_.config.num_heads,
                                      pass_.config.head_dim());
  weights.value(ctx, scratch.normed, scratch.value);
  attention.send_value(as_heads(scratch.value));
  weights.query(ctx, scratch.normed, scratch.query);
  norm_and_rotate(ctx, scratch.query, weights.norm_query);
  attention.send_query(as_heads(scratch.query));
  weights.key(ctx, scratch.normed, scratch.key);
  norm_and_rotate(ctx, scratch.key, weights.norm_key);
  attention.send_key(as_heads(scratch.key));
  attention.attend(as_heads(scratch.attended));
  weights.output(ctx, scratch.attended, scratch.branch);
}

void WanBlock::norm_and_rotate(ExecContext& ctx, const TensorView& rows, const TensorView& weight) const {
  rms_norm_rope(
      ctx,
      {.x = rows, .weight = weight, .eps = pass_.config.eps, .table = pass_.rope, .out = as_heads(rows)});
}

const TextContext::BlockEntry& WanBlock::project_text(ExecContext& ctx, TextContext& text) const {
  TextContext::BlockEntry& entry = text.blocks[static_cast<std::size_t>(index_)];
  const AttentionWeights& weights = weights_.cross_attention;
  if (entry.key.empty()) entry = project(ctx, text.embedded, {weights.key, weights.norm_key, weights.value});
  return entry;
}

const TextContext::BlockEntry& WanBlock::project_image(ExecContext& ctx, ImageContext& image) const {
  TextContext::BlockEntry& entry = image.blocks[static_cast<std::size_t>(index_)];
  if (entry.key.empty())
    entry = project(ctx, image.embedded, {weights_.image_key, weights_.norm_image_key, weights_.image_value});
  return entry;
}

TextContext::BlockEntry WanBlock::project(ExecContext& ctx, const TensorView& embedded,
                                          const Projection& projection) const {
  const Shape rows = embedded.shape();
  const Shape heads{rows[0], pass_.config.num_heads, pass_.config.head_dim()};
  const DType compute = pass_.scratch.key.dtype();
  TextContext::BlockEntry entry{Tensor(ctx.backend.allocator(), compute, heads),
                                Tensor(ctx.backend.allocator(), compute, heads)};
  const TensorView key = entry.key.view().reshape(rows);
  projection.key(ctx, embedded, key);
  rms_norm(ctx, {.x = key, .weight = projection.norm_key, .eps = pass_.config.eps, .out = key});
  projection.value(ctx, embedded, entry.value.view().reshape(rows));
  return entry;
}

void WanBlock::cross_attention(ExecContext& ctx, const TextContext::BlockEntry& text,
                               const TensorView& key_bias, const TextContext::BlockEntry* image) const {
  const AttentionWeights& weights = weights_.cross_attention;
  const WanActivations& scratch = pass_.scratch;
  weights.query(ctx, scratch.normed, scratch.query);
  rms_norm(ctx,
           {.x = scratch.query, .weight = weights.norm_query, .eps = pass_.config.eps, .out = scratch.query});
  attend(ctx, text, key_bias, scratch.attended);
  if (image != nullptr) {
    attend(ctx, *image, {}, scratch.value);
    gated_residual(ctx, {.x = scratch.attended, .y = scratch.value, .gate = {}, .segments = {}});
  }
  weights.output(ctx, scratch.attended, scratch.branch);
}

void WanBlock::attend(ExecContext& ctx, const TextContext::BlockEntry& to, const TensorView& key_bias,
                      const TensorView& out) const {
  attention(ctx, {.q = as_heads(pass_.scratch.query),
                  .k = to.key,
                  .v = to.value,
                  .scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(pass_.config.head_dim()))),
                  .bias = {},
                  .key_bias = key_bias,
                  .out = as_heads(out)});
}

void WanBlock::feed_forward(ExecContext& ctx) const {
  const WanActivations& scratch = pass_.scratch;
  const std::int64_t tokens = scratch.normed.dim(0);
  const std::int64_t step = scratch.hidden.dim(0);
  for (std::int64_t first = 0; first < tokens; first += step) {
    const std::int64_t last = std::min(first + step, tokens);
    const TensorView hidden = scratch.hidden.slice(0, 0, last - first);
    weights_.ffn_in(ctx, scratch.normed.slice(0, first, last), hidden, ActivationKind::kGeluTanh);
    weights_.ffn_out(ctx, hidden, scratch.fed.slice(0, first, last));
  }
}

TensorView WanBlock::as_heads(const TensorView& rows) const {
  return rows.reshape({rows.dim(0), pass_.config.num_heads, pass_.config.head_dim()});
}

}  // namespace wan
