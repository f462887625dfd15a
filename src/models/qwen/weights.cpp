#include "models/qwen/weights.h"

#include <algorithm>
#include <array>
#include <utility>

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

std::optional<std::string> qwen_name_of_gguf(std::string_view name) {
  using Names = std::pair<std::string_view, std::string_view>;
  constexpr std::array<Names, 3> kOuter{{{"token_embd.weight", "model.embed_tokens.weight"},
                                         {"output_norm.weight", "model.norm.weight"},
                                         {"output.weight", "lm_head.weight"}}};
  constexpr std::array<Names, 9> kLayer{{{"attn_norm", "input_layernorm"},
                                         {"attn_q", "self_attn.q_proj"},
                                         {"attn_k", "self_attn.k_proj"},
                                         {"attn_v", "self_attn.v_proj"},
                                         {"attn_output", "self_attn.o_proj"},
                                         {"ffn_norm", "post_attention_layernorm"},
                                         {"ffn_gate", "mlp.gate_proj"},
                                         {"ffn_up", "mlp.up_proj"},
                                         {"ffn_down", "mlp.down_proj"}}};
  const auto among = [](const auto& names, std::string_view wanted) -> std::optional<std::string_view> {
    const auto found = std::ranges::find(names, wanted, &Names::first);
    if (found == names.end()) return std::nullopt;
    return found->second;
  };
  if (const auto outer = among(kOuter, name)) return std::string(*outer);
  constexpr std::string_view kBlockPrefix = "blk.";
  if (!name.starts_with(kBlockPrefix)) return std::nullopt;
  name.remove_prefix(kBlockPrefix.size());
  const std::size_t number = name.find('.');
  const std::size_t member = name.rfind('.');  // ".weight" or ".bias"
  if (number == name.npos || member <= number) return std::nullopt;
  const auto layer = among(kLayer, name.substr(number + 1, member - number - 1));
  if (!layer) return std::nullopt;
  return "model.layers." + std::string(name.substr(0, number)) + "." + std::string(*layer) +
         std::string(name.substr(member));
}

void skip_unneeded(const WeightScope& top, const QwenConfig& config) {
  if (!config.shares_embeddings) return;
  if (const auto shape = top.shape_of("lm_head.weight"))
    top.declare({.name = "lm_head.weight", .shape = *shape});
}

}  // namespace wan
