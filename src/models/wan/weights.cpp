#include "models/wan/weights.h"

namespace wan {

using enum WeightDType;

void WanBlockWeights::visit(const WeightVisitor& at, const WanConfig& config) {
  const std::int64_t dim = config.dim;
  at.tensor("modulation", modulation, {1, kModulationRows, dim}, kFloat32);
  self_attention.visit(at.child("self_attn"), dim);
  at.tensor("norm3.weight", cross_norm_weight, {dim}, kFloat32);
  at.tensor("norm3.bias", cross_norm_bias, {dim}, kFloat32);
  cross_attention.visit(at.child("cross_attn"), dim);
  if (config.animate) {
    image_key.visit(at.child("cross_attn.k_img"), {.in = dim, .out = dim});
    image_value.visit(at.child("cross_attn.v_img"), {.in = dim, .out = dim});
    at.tensor("cross_attn.norm_k_img.weight", norm_image_key, {dim}, kFloat32);
  }
  ffn_in.visit(at.child("ffn.0"), {.in = dim, .out = config.ffn_dim});
  ffn_out.visit(at.child("ffn.2"), {.in = config.ffn_dim, .out = dim});
}

BlockLayout wan_block_layout(const WanConfig& config) {
  BlockLayout layout{.prefix = "blocks.{i}.", .weights = list_weights<WanBlockWeights>(config)};
  if (config.speech) {
    layout.extra_weights = list_weights<AudioInjectorWeights>(config);
    layout.extra_blocks = config.speech->inject_layers;
  }
  if (config.animate) {
    layout.extra_weights = list_weights<FaceBlockWeights>(config);
    layout.extra_blocks = face_blocks(config);
  }
  return layout;
}

void WanTransformerWeights::visit(const WeightVisitor& at, const WanConfig& config) {
  const std::int64_t dim = config.dim;
  const auto linear = [&](const char* name, Linear& weights, std::int64_t in, std::int64_t out) {
    weights.visit(at.child(name), {.in = in, .out = out, .dtype = kFloat32});
  };
  const auto [frames, rows, columns] = config.patch;
  at.tensor("patch_embedding.weight", patch_kernel, {dim, config.in_dim, frames, rows, columns}, kFloat32);
  at.tensor("patch_embedding.bias", patch_bias, {dim}, kFloat32);
  linear("text_embedding.0", text_in, config.text_dim, dim);
  linear("text_embedding.2", text_out, dim, dim);
  linear("time_embedding.0", time_in, config.freq_dim, dim);
  linear("time_embedding.2", time_out, dim, dim);
  linear("time_projection.1", time_projection, dim, kModulationRows * dim);
  linear("head.head", head, dim, patch_volume(config) * config.out_dim);
  at.tensor("head.modulation", head_modulation, {1, 2, dim}, kFloat32);
  if (config.speech) speech.visit(at, config);
  if (config.animate) animate.visit(at, config);
}

Linear WanTransformerWeights::patch_embedding() const {
  const std::int64_t dim = patch_kernel.dim(0);
  return {.weight = patch_kernel.reshape({dim, patch_kernel.elements() / dim}), .bias = patch_bias};
}

}  // namespace wan
