#include "models/umt5/config.h"

namespace wan {

Umt5Config umt5_config(const WeightScope& weights) {
  const auto matrix = [&](const char* name) {
    return weights.require_shape(name, 2, "use a umT5 encoder (models_t5_umt5-xxl-enc-bf16.pth)");
  };
  Umt5Config config{};
  const Shape embedding = matrix("token_embedding.weight");
  config.vocabulary = embedding[0];
  config.dim = embedding[1];
  config.dim_attention = matrix("blocks.0.attn.q.weight")[0];
  config.dim_ffn = matrix("blocks.0.ffn.gate.0.weight")[0];
  const Shape positions = matrix("blocks.0.pos_embedding.embedding.weight");
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

}  // namespace wan
