#include "models/umt5/weights.h"

namespace wan {

using enum WeightDType;

void Umt5LayerWeights::visit(const WeightVisitor& at, const Umt5Config& config) {
  const std::int64_t dim = config.dim;
  const auto linear = [&](const char* name, Linear& weights, std::int64_t in, std::int64_t out) {
    weights.visit(at.child(name), {.in = in, .out = out, .has_bias = false});
  };
  at.tensor("norm1.weight", attention_norm, {dim}, kFloat32);
  linear("attn.q", query, dim, config.dim_attention);
  linear("attn.k", key, dim, config.dim_attention);
  linear("attn.v", value, dim, config.dim_attention);
  linear("attn.o", output, config.dim_attention, dim);
  at.tensor("norm2.weight", ffn_norm, {dim}, kFloat32);
  linear("ffn.gate.0", ffn_gate, dim, config.dim_ffn);
  linear("ffn.fc1", ffn_in, dim, config.dim_ffn);
  linear("ffn.fc2", ffn_out, config.dim_ffn, dim);
  at.tensor("pos_embedding.embedding.weight", positions, {config.num_buckets, config.num_heads}, kFloat32);
}

BlockLayout umt5_block_layout(const Umt5Config& config) {
  return {.prefix = "blocks.{i}.", .weights = list_weights<Umt5LayerWeights>(config)};
}

void Umt5EncoderWeights::visit(const WeightVisitor& at, const Umt5Config& config) {
  at.tensor("token_embedding.weight", token_embedding, {config.vocabulary, config.dim}, kInFile);
  at.tensor("norm.weight", norm, {config.dim}, kFloat32);
}

}  // namespace wan
