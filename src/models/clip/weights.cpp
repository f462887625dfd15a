#include "models/clip/weights.h"

namespace wan {

using enum WeightDType;

void ClipLayerWeights::visit(const WeightVisitor& at, const ClipConfig& config) {
  const auto linear = [&](const char* name, Linear& weights, std::int64_t in, std::int64_t out) {
    weights.visit(at.child(name), {.in = in, .out = out, .dtype = kFloat32});
  };
  attention_norm.visit(at.child("norm1"), config.dim);
  linear("attn.to_qkv", query_key_value, config.dim, 3 * config.dim);
  linear("attn.proj", output, config.dim, config.dim);
  ffn_norm.visit(at.child("norm2"), config.dim);
  linear("mlp.0", ffn_in, config.dim, config.dim_ffn);
  linear("mlp.2", ffn_out, config.dim_ffn, config.dim);
}

void ClipOuterWeights::visit(const WeightVisitor& at, const ClipConfig& config) {
  at.tensor("patch_embedding.weight", patch_kernel, {config.dim, 3, config.patch, config.patch}, kFloat32);
  at.tensor("cls_embedding", class_token, {1, 1, config.dim}, kFloat32);
  at.tensor("pos_embedding", positions, {1, config.tokens(), config.dim}, kFloat32);
  norm.visit(at.child("pre_norm"), config.dim);
}

BlockLayout clip_block_layout(const ClipConfig& config) {
  return {.prefix = "transformer.{i}.", .weights = list_weights<ClipLayerWeights>(config)};
}

void skip_unneeded_clip(const WeightScope& top) {
  const WeightScope visual = top.child("visual");
  const std::string last =
      visual.full_name("transformer." + std::to_string(visual.count_children("transformer") - 1) + ".");
  for (const TensorEntry& entry : top.report().checkpoint().entries()) {
    const std::string& name = entry.name;
    if (name.starts_with("textual.") || name == "log_scale" || name.starts_with("visual.post_norm.") ||
        name == "visual.head" || name.starts_with(last))
      top.declare({.name = name, .shape = entry.shape});
  }
}

}  // namespace wan
