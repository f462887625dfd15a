#include "models/sam2/weights.h"

#include <algorithm>
#include <string>

#include "ops/copy.h"

namespace wan::sam2 {

using enum WeightDType;

namespace {

/// One row of a tensor of any dtype to a row of another.
void copy_row(const TensorView& from, std::int64_t row, const TensorView& to, std::int64_t to_row) {
  const std::size_t bytes = from.bytes() / static_cast<std::size_t>(from.dim(0));
  std::copy_n(from.data() + static_cast<std::size_t>(row) * bytes, bytes,
              to.data() + static_cast<std::size_t>(to_row) * bytes);
}

Linear& next_layer(std::vector<Linear>& layers, std::size_t index) {
  if (layers.size() <= index) layers.resize(index + 1);
  return layers[index];
}

/// layers[0..count) of a vector, which is made as long.
template <typename T>
std::vector<T>& sized(std::vector<T>& vector, std::int64_t count) {
  vector.resize(static_cast<std::size_t>(count));
  return vector;
}

std::string numbered(const char* before, std::size_t index) {
  return before + std::to_string(index);
}

}  // namespace

void PixelConvolution::visit(const WeightVisitor& at, std::int64_t in, std::int64_t out) {
  at.tensor("weight", weight, {out, in, 1, 1});
  at.tensor("bias", bias, {out}, kFloat32);
}

void PixelConvolution::operator()(ExecContext& ctx, const TensorView& x, const TensorView& out) const {
  linear(ctx, {.x = x, .weight = weight.reshape({weight.dim(0), weight.dim(1)}), .bias = bias, .out = out});
}

Convolution load_convolution(const WeightScope& scope, std::int64_t in, std::int64_t out,
                             std::int64_t kernel) {
  const Tensor stored = scope.on_host().load("weight", {out, in, kernel, kernel}, kFloat32);
  Convolution made;
  made.bias = scope.load("bias", {out}, kFloat32);
  if (stored.empty()) return made;
  const std::int64_t area = kernel * kernel;
  made.weight = scope.make(DType::kF32, {out, 1, kernel, kernel, in}, [&](const TensorView& weight) {
    for (std::int64_t o = 0; o < out; ++o)
      for (std::int64_t at = 0; at < area; ++at)
        for (std::int64_t i = 0; i < in; ++i)
          weight.as<float>()[(o * area + at) * in + i] = stored.as<float>()[(o * in + i) * area + at];
  });
  return made;
}

Convolution load_channel_convolution(const WeightScope& scope, std::int64_t channels, std::int64_t kernel) {
  const Tensor stored = scope.on_host().load("weight", {channels, 1, kernel, kernel}, kFloat32);
  Convolution made;
  made.bias = scope.load("bias", {channels}, kFloat32);
  if (stored.empty()) return made;
  const std::int64_t area = kernel * kernel;
  made.weight =
      scope.make(DType::kF32, {channels, 1, kernel, kernel, channels}, [&](const TensorView& weight) {
        std::fill_n(weight.as<float>(), weight.elements(), 0.0f);
        for (std::int64_t c = 0; c < channels; ++c)
          for (std::int64_t at = 0; at < area; ++at)
            weight.as<float>()[(c * area + at) * channels + c] = stored.as<float>()[c * area + at];
      });
  return made;
}

Doubling load_doubling(const WeightScope& scope, std::int64_t in, std::int64_t out) {
  const WeightScope host = scope.on_host();
  const Tensor stored = host.load("weight", {in, out, 2, 2}, kFloat32);
  const Tensor bias = host.load("bias", {out}, kFloat32);
  if (stored.empty() || bias.empty()) return {};
  return {.weight = scope.make(DType::kF32, {4 * out, in},
                               [&](const TensorView& weight) {
                                 for (std::int64_t at = 0; at < 4; ++at)
                                   for (std::int64_t o = 0; o < out; ++o)
                                     for (std::int64_t i = 0; i < in; ++i)
                                       weight.as<float>()[(at * out + o) * in + i] =
                                           stored.as<float>()[(i * out + o) * 4 + at];
                               }),
          .bias = scope.make(DType::kF32, {4 * out}, [&](const TensorView& all) {
            for (std::int64_t at = 0; at < 4; ++at)
              std::copy_n(bias.as<float>(), out, all.as<float>() + at * out);
          })};
}

void Doubling::operator()(ExecContext& ctx, const TensorView& x, const TensorView& out) const {
  const Workspace::Scope scope(ctx.workspace);
  const std::int64_t channels = weight.dim(0) / 4;
  std::int64_t size = 1;
  while (size * size < x.dim(0)) ++size;
  const TensorView cells = ctx.workspace.take(DType::kF32, {x.dim(0), 4 * channels});
  linear(ctx, {.x = x, .weight = weight, .bias = bias, .out = cells});
  // A pixel's cell as two rows of two.
  copy(ctx, {cells.reshape({size, size, 2, 2 * channels}),
             out.reshape({size, 2, size, 2 * channels}).permute({0, 2, 1, 3})});
}

void Perceptron::visit(const WeightVisitor& at, std::int64_t in, std::int64_t hidden, std::int64_t out,
                       std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    const bool is_last = i + 1 == count;
    next_layer(layers, static_cast<std::size_t>(i))
        .visit(at.child("layers." + std::to_string(i)),
               {.in = i == 0 ? in : hidden, .out = is_last ? out : hidden});
  }
}

void Perceptron::operator()(ExecContext& ctx, const TensorView& x, const TensorView& out) const {
  const Workspace::Scope scope(ctx.workspace);
  TensorView rows = x;
  for (std::size_t i = 0; i + 1 < layers.size(); ++i) {
    const TensorView hidden = ctx.workspace.take(DType::kF32, {x.dim(0), layers[i].weight.dim(0)});
    layers[i](ctx, rows, hidden, ActivationKind::kReLU);
    rows = hidden;
  }
  layers.back()(ctx, rows, out);
}

void AttentionWeights::visit(const WeightVisitor& at, const AttentionShape& shape) {
  query.visit(at.child("q_proj"), {.in = shape.dim, .out = shape.inner});
  key.visit(at.child("k_proj"), {.in = shape.key_dim, .out = shape.inner});
  value.visit(at.child("v_proj"), {.in = shape.key_dim, .out = shape.inner});
  output.visit(at.child("out_proj"), {.in = shape.inner, .out = shape.dim});
}

void TrunkBlockWeights::visit(const WeightVisitor& at, const BlockConfig& config) {
  attention_norm.visit(at.child("norm1"), config.in);
  query_key_value.visit(at.child("attn.qkv"), {.in = config.in, .out = 3 * config.out});
  output.visit(at.child("attn.proj"), {.in = config.out, .out = config.out});
  ffn_norm.visit(at.child("norm2"), config.out);
  ffn_in.visit(at.child("mlp.layers.0"), {.in = config.out, .out = config.hidden});
  ffn_out.visit(at.child("mlp.layers.1"), {.in = config.hidden, .out = config.out});
  if (config.in != config.out) shortcut.visit(at.child("proj"), {.in = config.in, .out = config.out});
}

void NeckWeights::visit(const WeightVisitor& at, const Config& config) {
  const std::size_t stages = config.stage_channels.size();
  lateral.resize(stages);
  for (std::size_t i = 0; i < stages; ++i)  // the file's first is the last stage's
    lateral[i].visit(at.child(numbered("image_encoder.neck.convs.", stages - 1 - i) + ".conv"),
                     config.stage_channels[i], config.dim);
  fine.visit(at.child("sam_mask_decoder.conv_s0"), config.dim, config.dim / 8);
  half.visit(at.child("sam_mask_decoder.conv_s1"), config.dim, config.dim / 4);
}

void MemoryLayerWeights::visit(const WeightVisitor& at, const Config& config) {
  const std::int64_t dim = config.dim;
  self_norm.visit(at.child("norm1"), dim);
  cross_norm.visit(at.child("norm2"), dim);
  ffn_norm.visit(at.child("norm3"), dim);
  self_value.visit(at.child("self_attn.v_proj"), {.in = dim, .out = dim});
  self_output.visit(at.child("self_attn.out_proj"), {.in = dim, .out = dim});
  cross_value.visit(at.child("cross_attn_image.v_proj"), {.in = config.memory_dim, .out = dim});
  cross_output.visit(at.child("cross_attn_image.out_proj"), {.in = dim, .out = dim});
  ffn_in.visit(at.child("linear1"), {.in = dim, .out = config.memory_hidden});
  ffn_out.visit(at.child("linear2"), {.in = config.memory_hidden, .out = dim});
}

RotatedProjection load_rotated(const WeightScope& scope, std::int64_t in, std::int64_t out,
                               std::int64_t heads) {
  const WeightScope host = scope.on_host();
  const Tensor weight = host.load("weight", {out, in});
  const Tensor bias = host.load("bias", {out}, kFloat32);
  if (weight.empty() || bias.empty()) return {};
  const std::int64_t width = out / heads;
  const auto rearrange = [&](const TensorView& from, const TensorView& to) {
    for (std::int64_t row = 0; row < out; ++row) {
      const std::int64_t head = row / width, i = row % width;
      copy_row(from, row, to, head * width + i / 2 + (i % 2) * (width / 2));
    }
  };
  return {
      .weight = scope.make(weight.dtype(), {out, in}, [&](const TensorView& to) { rearrange(weight, to); }),
      .bias = scope.make(DType::kF32, {out}, [&](const TensorView& to) { rearrange(bias, to); })};
}

void FuserLayerWeights::visit(const WeightVisitor& at, const Config& config) {
  norm.visit(at.child("norm"), config.dim);
  in.visit(at.child("pwconv1"), {.in = config.dim, .out = config.fuser_hidden});
  out.visit(at.child("pwconv2"), {.in = config.fuser_hidden, .out = config.dim});
  at.tensor("gamma", gain, {config.dim}, kFloat32);
}

void MemoryEncoderWeights::visit(const WeightVisitor& at, const Config& config) {
  const std::vector<std::int64_t>& channels = config.mask_channels;
  mask_norms.resize(channels.size() - 1);
  for (std::size_t i = 0; i < mask_norms.size(); ++i)
    mask_norms[i].visit(at.child(numbered("mask_downsampler.encoder.", 3 * i + 1)), channels[i + 1]);
  mask_out.visit(at.child(numbered("mask_downsampler.encoder.", 3 * mask_norms.size())), channels.back(),
                 config.dim);
  picture.visit(at.child("pix_feat_proj"), config.dim, config.dim);
  output.visit(at.child("out_proj"), config.dim, config.memory_dim);
}

void DecoderLayerWeights::visit(const WeightVisitor& at, const Config& config) {
  const std::int64_t dim = config.dim;
  const AttentionShape across{.dim = dim, .inner = config.decoder_inner, .key_dim = dim};
  self.visit(at.child("self_attn"), {.dim = dim, .inner = dim, .key_dim = dim});
  self_norm.visit(at.child("norm1"), dim);
  to_image.visit(at.child("cross_attn_token_to_image"), across);
  image_norm.visit(at.child("norm2"), dim);
  ffn_in.visit(at.child("mlp.layers.0"), {.in = dim, .out = config.decoder_hidden});
  ffn_out.visit(at.child("mlp.layers.1"), {.in = config.decoder_hidden, .out = dim});
  ffn_norm.visit(at.child("norm3"), dim);
  tokens_norm.visit(at.child("norm4"), dim);
  to_tokens.visit(at.child("cross_attn_image_to_token"), across);
}

void DecoderWeights::visit(const WeightVisitor& at, const Config& config) {
  const std::int64_t dim = config.dim;
  for (std::size_t i = 0; i < sized(layers, config.decoder_layers).size(); ++i)
    layers[i].visit(at.child(numbered("transformer.layers.", i)), config);
  final_to_image.visit(at.child("transformer.final_attn_token_to_image"),
                       {.dim = dim, .inner = config.decoder_inner, .key_dim = dim});
  final_norm.visit(at.child("transformer.norm_final_attn"), dim);
  doubled_norm.visit(at.child("output_upscaling.1"), dim / 4);
  for (std::size_t i = 0; i < sized(mask_heads, config.mask_tokens).size(); ++i)
    mask_heads[i].visit(at.child(numbered("output_hypernetworks_mlps.", i)), dim, dim, dim / 8, 3);
  quality_head.visit(at.child("iou_prediction_head"), dim, config.quality_hidden, config.mask_tokens,
                     config.quality_layers);
  presence_head.visit(at.child("pred_obj_score_head"), dim, dim, 1, 3);
}

void OtherWeights::visit(const WeightVisitor& at, const Config& config) {
  at.tensor("no_mem_embed", no_memory, {1, 1, config.dim}, kFloat32);
  at.tensor("no_obj_ptr", no_pointer, {1, config.dim}, kFloat32);
  at.tensor("sam_prompt_encoder.no_mask_embed.weight", no_mask, {1, config.dim}, kFloat32);
  pointer.visit(at.child("obj_ptr_proj"), config.dim, config.dim, config.dim, 3);
}

void skip_unneeded(const WeightScope& top) {
  for (const TensorEntry& entry : top.report().checkpoint().entries()) {
    const std::string& name = entry.name;
    if (name.starts_with("mask_downsample.") || name == "no_mem_pos_enc" ||
        name.starts_with("sam_prompt_encoder.mask_downscaling.") ||
        (name.starts_with("sam_prompt_encoder.point_embeddings.") &&
         name != "sam_prompt_encoder.point_embeddings.1.weight"))
      top.declare({.name = name, .shape = entry.shape});
  }
}

}  // namespace wan::sam2
