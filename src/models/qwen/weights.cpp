#include "models/qwen/weights.h"

namespace wan {

using enum WeightDType;

void QwenLayerWeights::visit(const WeightVisitor& at, const QwenConfig& config) {
  const std::int64_t dim = config.dim;
  const auto linear = [&](const char* name, Linear& weights, std::int64_t in, std::int64_t out,
                          bool has_bias = false) {
    weights.visit(at.child(name), {.in = in, .out = out, .has_bias = has_bias});
  };
  at.tensor("input_layernorm.weight", attention_norm, {dim}, kFloat32);
  linear("self_attn.q_proj", query, dim, config.query_dim(), config.has_biases);
  linear("self_attn.k_proj", key, dim, config.key_dim(), config.has_biases);
  linear("self_attn.v_proj", value, dim, config.key_dim(), config.has_biases);
  linear("self_attn.o_proj", output, config.query_dim(), dim);
  at.tensor("post_attention_layernorm.weight", ffn_norm, {dim}, kFloat32);
  linear("mlp.gate_proj", gate, dim, config.dim_ffn);
  linear("mlp.up_proj", up, dim, config.dim_ffn);
  linear("mlp.down_proj", down, config.dim_ffn, dim);
}

BlockLayout qwen_block_layout(const QwenConfig& config) {
  return {.prefix = "model.layers.{i}.", .weights = list_weights<QwenLayerWeights>(config)};
}

void QwenOuterWeights::visit(const WeightVisitor& at, const QwenConfig& config) {
  const Shape table{config.vocabulary, config.dim};
  at.tensor("model.embed_tokens.weight", token_embedding, table, kInFile);
  at.tensor("model.norm.weight", norm, {config.dim}, kFloat32);
  at.tensor(config.shares_embeddings ? "model.embed_tokens.weight" : "lm_head.weight", head.weight, table);
}

void skip_unneeded(const WeightScope& top, const QwenConfig& config) {
  if (!config.shares_embeddings) return;
  if (const auto shape = top.shape_of("lm_head.weight"))
    top.declare({.name = "lm_head.weight", .shape = *shape});
}

}  // namespace wan
