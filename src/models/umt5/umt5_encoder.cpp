#include "models/umt5/umt5_encoder.h"

#include "models/umt5/layer.h"
#include "ops/backend.h"
#include "ops/rms_norm.h"
#include "weights/convert.h"

namespace wan {

Umt5Encoder::Umt5Encoder(const Umt5Config& config, const WeightScope& weights, BlockResidency& residency,
                         int group, std::string tap_prefix)
    : config_(config),
      residency_(residency),
      group_(group),
      tap_prefix_(std::move(tap_prefix)),
      weights_(weights, config) {}

std::vector<BlockId> Umt5Encoder::schedule() const {
  std::vector<BlockId> blocks;
  for (int layer = 0; layer < config_.num_layers; ++layer) blocks.push_back({group_, layer});
  return blocks;
}

void Umt5Encoder::encode(ExecContext& ctx, std::span<const std::int64_t> ids, const TensorView& out) const {
  const auto n = static_cast<std::int64_t>(ids.size());
  WAN_CHECK(out.shape() == (Shape{n, config_.dim}), kInternal, "[umt5] {} tokens into {}", n,
            out.shape().to_string());
  for (const std::int64_t id : ids)
    WAN_CHECK(
        id >= 0 && id < config_.vocabulary, kBadFile,
        "token {} is outside the text encoder's {} rows: the tokenizer does not belong to this text encoder",
        id, config_.vocabulary);
  ctx.enter(tap_prefix_ + "token_embedding");
  const auto gather = [&](const TensorView& rows) {
    const TensorView& table = weights_->token_embedding;
    for (std::int64_t i = 0; i < n; ++i) {
      const std::int64_t id = ids[static_cast<std::size_t>(i)];
      convert(table.slice(0, id, id + 1), rows.slice(0, i, i + 1));
    }
  };
  ctx.backend.upload_filled(gather, out);
  weights_.check_read();
  ctx.tap(tap_prefix_ + "token_embedding", out);

  const Workspace::Scope scope(ctx.workspace);
  const Umt5Pass pass{.config = config_,
                      .buckets = relative_buckets(n, config_.num_buckets),
                      .scratch = take_activations(ctx.workspace, config_, n)};
  for (const BlockId block : schedule()) {
    ctx.check_cancelled();
    const BlockLease lease = residency_.acquire(block);
    const Umt5Layer layer(pass, bind_weights<Umt5LayerWeights>(lease.leased(), config_),
                          tap_prefix_ + "blocks." + std::to_string(block.index));
    layer.run(ctx, out);
  }
  ctx.enter(tap_prefix_ + "norm");
  rms_norm(ctx, {.x = out, .weight = weights_->norm, .eps = kUmt5Eps, .out = out});
  ctx.tap(tap_prefix_ + "norm", out);
}

}  // namespace wan
