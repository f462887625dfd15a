#include "models/qwen/qwen_model.h"

#include <cmath>

#include "ops/backend.h"
#include "ops/rms_norm.h"
#include "weights/convert.h"

namespace wan {

std::vector<QwenPosition> text_positions(std::int64_t first, std::int64_t count) {
  std::vector<QwenPosition> positions;
  for (std::int64_t at = first; at < first + count; ++at) positions.push_back({at, at, at});
  return positions;
}

void fill_qwen_rope_table(const QwenConfig& config, std::span<const QwenPosition> positions,
                          const TensorView& table) {
  const std::int64_t pairs = config.head_dim / 2;
  float* to = table.as<float>();
  for (const QwenPosition& position : positions)
    for (std::int64_t i = 0; i < pairs; ++i) {
      const float exponent = static_cast<float>(2 * i) / static_cast<float>(config.head_dim);
      const float frequency = 1.0f / std::pow(static_cast<float>(config.rope_theta), exponent);
      const bool turns_with_time = i < config.rope_pairs[0];
      const bool turns_with_row = i < config.rope_pairs[0] + config.rope_pairs[1];
      const std::int64_t at = turns_with_time  ? position.time
                              : turns_with_row ? position.row
                                               : position.column;
      const float angle = static_cast<float>(at) * frequency;
      *to++ = std::cos(angle);
      *to++ = std::sin(angle);
    }
}

QwenModel::QwenModel(const QwenConfig& config, const WeightScope& top, BlockResidency& residency, int group,
                     DType dtype)
    : config_(config), residency_(residency), group_(group), dtype_(dtype), weights_(top, config) {
  skip_unneeded(top, config);
}

std::vector<BlockId> QwenModel::schedule() const {
  std::vector<BlockId> blocks;
  for (int layer = 0; layer < config_.num_layers; ++layer) blocks.push_back({group_, layer});
  return blocks;
}

void QwenModel::embed(std::span<const std::int64_t> ids, const TensorView& out) const {
  for (std::size_t i = 0; i < ids.size(); ++i) {
    WAN_CHECK(
        ids[i] >= 0 && ids[i] < config_.vocabulary, kBadFile,
        "token {} is outside the language model's {} rows: the tokenizer does not belong to this model; "
        "take all files of its folder from one place",
        ids[i], config_.vocabulary);
    const auto row = static_cast<std::int64_t>(i);
    convert(weights_->token_embedding.slice(0, ids[i], ids[i] + 1), out.slice(0, row, row + 1));
  }
  weights_.check_read();
}

void QwenModel::forward(ExecContext& ctx, const TensorView& embedded, std::span<const QwenPosition> positions,
                        KeyValueCache& cache, const TensorView& logits) const {
  const std::int64_t n = embedded.dim(0);
  WAN_CHECK(n > 0 && static_cast<std::size_t>(n) == positions.size() &&
                cache.tokens() + n <= cache.capacity() && logits.shape() == (Shape{config_.vocabulary}),
            kInternal, "[qwen] {} tokens, {} positions, {} of {} in the cache, scores {}", n,
            positions.size(), cache.tokens(), cache.capacity(), logits.shape().to_string());
  const Workspace::Scope scope(ctx.workspace);
  const TensorView x = ctx.workspace.take(DType::kF32, embedded.shape());
  ctx.backend.upload(embedded, x);
  const Tensor table(DType::kF32, {n, config_.head_dim / 2, 2});
  fill_qwen_rope_table(config_, positions, table);
  const TensorView device_table = ctx.workspace.take(DType::kF32, table.shape());
  ctx.backend.upload(table, device_table);
  const QwenPass pass{.config = config_,
                      .rope_table = device_table,
                      .cache = cache,
                      .scratch = take_activations(ctx.workspace, config_, n, dtype_)};
  std::vector<BlockId> blocks = schedule();
  const std::size_t count = blocks.size();
  // The next token's pass follows: what is streamed comes while this one ends.
  blocks.insert(blocks.end(), blocks.begin(), blocks.begin() + static_cast<std::ptrdiff_t>(count));
  residency_.set_schedule(blocks);
  for (std::size_t i = 0; i < count; ++i) {
    ctx.check_cancelled();
    const BlockLease lease = residency_.acquire(blocks[i]);
    const QwenLayer layer(pass, blocks[i].index, bind_weights<QwenLayerWeights>(lease.leased(), config_));
    layer.run(ctx, x);
  }
  cache.grow(n);
  ctx.enter("model.norm");
  const TensorView last = pass.scratch.normed.slice(0, n - 1, n);
  rms_norm(ctx, {.x = x.slice(0, n - 1, n), .weight = weights_->norm, .eps = config_.eps, .out = last});
  ctx.tap("model.norm", last);
  ctx.enter("lm_head");
  const TensorView scores = ctx.workspace.take(DType::kF32, {1, config_.vocabulary});
  weights_->head(ctx, last, scores);
  ctx.backend.download(scores.reshape({config_.vocabulary}), logits);
}

}  // namespace wan
