#include "layouts/part_names.h"

#include <charconv>
#include <optional>
#include <span>
#include <utility>

namespace wan {

namespace {

using Pair = std::pair<std::string_view, std::string_view>;

/// `text` with the longest `first` of the pairs that begins it, and ends there or before a dot, replaced by its `second`.
std::optional<std::string> with_new_beginning(std::string_view text, std::span<const Pair> pairs) {
  const Pair* best = nullptr;
  for (const Pair& pair : pairs) {
    const std::string_view old = pair.first;
    const bool begins = text.starts_with(old) && (text.size() == old.size() || text[old.size()] == '.');
    if (begins && (best == nullptr || old.size() > best->first.size())) best = &pair;
  }
  if (best == nullptr) return std::nullopt;
  return std::string(best->second) + std::string(text.substr(best->first.size()));
}

/// "7" and "attn1.to_q" of "blocks.7.attn1.to_q" below "blocks.".
struct Numbered {
  int number;
  std::string_view rest;
};

std::optional<Numbered> numbered_below(std::string_view name, std::string_view prefix) {
  if (!name.starts_with(prefix)) return std::nullopt;
  name.remove_prefix(prefix.size());
  Numbered found{};
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), found.number);
  constexpr int kMost = 1 << 16;
  if (error != std::errc() || end == name.data() + name.size() || *end != '.' || found.number < 0 ||
      found.number > kMost)
    return std::nullopt;
  found.rest = name.substr(static_cast<std::size_t>(end - name.data()) + 1);
  return found;
}

std::string joined(std::string_view prefix, int number, const std::string& rest) {
  return std::string(prefix) + std::to_string(number) + "." + rest;
}

constexpr Pair kTransformerTop[] = {
    {"condition_embedder.text_embedder.linear_1", "text_embedding.0"},
    {"condition_embedder.text_embedder.linear_2", "text_embedding.2"},
    {"condition_embedder.time_embedder.linear_1", "time_embedding.0"},
    {"condition_embedder.time_embedder.linear_2", "time_embedding.2"},
    {"condition_embedder.time_proj", "time_projection.1"},
    {"condition_embedder.image_embedder.norm1", "img_emb.proj.0"},
    {"condition_embedder.image_embedder.ff.net.0.proj", "img_emb.proj.1"},
    {"condition_embedder.image_embedder.ff.net.2", "img_emb.proj.3"},
    {"condition_embedder.image_embedder.norm2", "img_emb.proj.4"},
    {"condition_embedder.image_embedder.pos_embed", "img_emb.emb_pos"},
    {"proj_out", "head.head"},
    {"scale_shift_table", "head.modulation"},
    {"face_encoder.conv1_local", "face_encoder.conv1_local.conv"},
    {"face_encoder.conv2", "face_encoder.conv2.conv"},
    {"face_encoder.conv3", "face_encoder.conv3.conv"},
    {"motion_encoder.conv_in", "motion_encoder.enc.net_app.convs.0.0"},
    {"motion_encoder.conv_in.act_fn", "motion_encoder.enc.net_app.convs.0.1"},
    {"motion_encoder.motion_network", "motion_encoder.enc.fc"},
    {"motion_encoder.motion_synthesis_weight", "motion_encoder.dec.direction.weight"},
};

constexpr Pair kFaceBlock[] = {
    {"to_q", "linear1_q"},
    {"to_out", "linear2"},
    {"norm_q", "q_norm"},
    {"norm_k", "k_norm"},
};

// The official layers are lists, in which a blur stands before what halves the picture.
constexpr Pair kMotionLevel[] = {
    {"conv1", "conv1.0"},        {"conv1.act_fn", "conv1.1"}, {"conv2", "conv2.1"},
    {"conv2.act_fn", "conv2.2"}, {"conv_skip", "skip.1"},
};

// The norms exchange their numbers: diffusers counts in the order of use, the official code gives the affine one the last number.
constexpr Pair kTransformerBlock[] = {
    {"scale_shift_table", "modulation"},
    {"norm2", "norm3"},
    {"norm3", "norm2"},
    {"attn1", "self_attn"},
    {"attn2", "cross_attn"},
    {"attn1.to_q", "self_attn.q"},
    {"attn1.to_k", "self_attn.k"},
    {"attn1.to_v", "self_attn.v"},
    {"attn1.to_out.0", "self_attn.o"},
    {"attn2.to_q", "cross_attn.q"},
    {"attn2.to_k", "cross_attn.k"},
    {"attn2.to_v", "cross_attn.v"},
    {"attn2.to_out.0", "cross_attn.o"},
    {"attn2.add_k_proj", "cross_attn.k_img"},
    {"attn2.add_v_proj", "cross_attn.v_img"},
    {"attn2.norm_added_k", "cross_attn.norm_k_img"},
    {"ffn.net.0.proj", "ffn.0"},
    {"ffn.net.2", "ffn.2"},
};

constexpr Pair kVaeResidual[] = {
    {"norm1", "residual.0"}, {"conv1", "residual.2"},       {"norm2", "residual.3"},
    {"conv2", "residual.6"}, {"conv_shortcut", "shortcut"},
};

constexpr Pair kVaeCoder[] = {
    {"conv_in", "conv1"},
    {"norm_out", "head.0"},
    {"conv_out", "head.2"},
    {"mid_block.resnets.0", "middle.0"},
    {"mid_block.attentions.0", "middle.1"},
    {"mid_block.resnets.1", "middle.2"},
};

constexpr Pair kTextLayer[] = {
    {"layer.0.SelfAttention.q", "attn.q"},
    {"layer.0.SelfAttention.k", "attn.k"},
    {"layer.0.SelfAttention.v", "attn.v"},
    {"layer.0.SelfAttention.o", "attn.o"},
    {"layer.0.SelfAttention.relative_attention_bias", "pos_embedding.embedding"},
    {"layer.0.layer_norm", "norm1"},
    {"layer.1.layer_norm", "norm2"},
    {"layer.1.DenseReluDense.wi_0", "ffn.gate.0"},
    {"layer.1.DenseReluDense.wi_1", "ffn.fc1"},
    {"layer.1.DenseReluDense.wo", "ffn.fc2"},
};

constexpr Pair kTextTop[] = {
    {"shared", "token_embedding"},
    {"encoder.embed_tokens", "token_embedding"},
    {"encoder.final_layer_norm", "norm"},
};

constexpr Pair kImageLayer[] = {
    {"layer_norm1", "norm1"}, {"layer_norm2", "norm2"}, {"self_attn.out_proj", "attn.proj"},
    {"mlp.fc1", "mlp.0"},     {"mlp.fc2", "mlp.2"},
};

constexpr Pair kImageTop[] = {
    {"vision_model.embeddings.class_embedding", "visual.cls_embedding"},
    {"vision_model.embeddings.patch_embedding", "visual.patch_embedding"},
    {"vision_model.embeddings.position_embedding.weight", "visual.pos_embedding"},
    {"vision_model.pre_layrnorm", "visual.pre_norm"},
    {"vision_model.post_layernorm", "visual.post_norm"},
    {"visual_projection.weight", "visual.head"},
};

/// A layer of another layout that is some rows of an official one.
struct Piece {
  std::string_view theirs;  // layers' names before their numbers
  std::string_view part;
  std::string_view official;
  std::string_view whole;
  std::size_t place, places;
};

constexpr std::string_view kImageLayers = "vision_model.encoder.layers.";
constexpr std::string_view kOfficialImageLayers = "visual.transformer.";

constexpr Piece kPieces[] = {
    {"face_adapter.", "to_k", "face_adapter.fuser_blocks.", "linear1_kv", 0, 2},
    {"face_adapter.", "to_v", "face_adapter.fuser_blocks.", "linear1_kv", 1, 2},
    {kImageLayers, "self_attn.q_proj", kOfficialImageLayers, "attn.to_qkv", 0, 3},
    {kImageLayers, "self_attn.k_proj", kOfficialImageLayers, "attn.to_qkv", 1, 3},
    {kImageLayers, "self_attn.v_proj", kOfficialImageLayers, "attn.to_qkv", 2, 3},
};

constexpr Pair kLlamaLayer[] = {
    {"attn_q", "attn.q"},       {"attn_k", "attn.k"},   {"attn_v", "attn.v"},
    {"attn_o", "attn.o"},       {"attn_norm", "norm1"}, {"attn_rel_b", "pos_embedding.embedding"},
    {"ffn_gate", "ffn.gate.0"}, {"ffn_up", "ffn.fc1"},  {"ffn_down", "ffn.fc2"},
    {"ffn_norm", "norm2"},
};

constexpr Pair kLlamaTop[] = {
    {"token_embd", "token_embedding"},
    {"enc.output_norm", "norm"},
};

/// Of a numbered layer below `from`: its parts renamed, below `to`. Nothing for another name.
std::optional<std::string> renamed_layer(std::string_view name, std::string_view from, std::string_view to,
                                         std::span<const Pair> parts) {
  const std::optional<Numbered> layer = numbered_below(name, from);
  if (!layer) return std::nullopt;
  const std::optional<std::string> part = with_new_beginning(layer->rest, parts);
  if (!part) return std::nullopt;
  return joined(to, layer->number, *part);
}

std::string residual_part(std::string_view name) {
  return with_new_beginning(name, kVaeResidual).value_or(std::string(name));
}

/// Of VAE 2.1's decoder: three residual blocks and what doubles the picture count as four layers of one row.
std::optional<std::string> flat_upsample(const Numbered& block) {
  constexpr int kLayers = 4;
  if (const auto inner = numbered_below(block.rest, "resnets."); inner && inner->number < kLayers - 1)
    return joined("upsamples.", block.number * kLayers + inner->number, residual_part(inner->rest));
  if (const auto inner = numbered_below(block.rest, "upsamplers."); inner && inner->number == 0)
    return joined("upsamples.", block.number * kLayers + kLayers - 1, std::string(inner->rest));
  return std::nullopt;
}

/// Of VAE 2.2: `direction` is "down" or "up". What halves or doubles the picture is the layer behind the residual blocks, whose number the
/// name does not tell: the official encoder has two of them in a level, the decoder three.
std::optional<std::string> nested_sample(const Numbered& block, bool down) {
  const std::string list = down ? "downsamples." : "upsamples.";
  const std::string level = list + std::to_string(block.number) + "." + list;
  if (const auto inner = numbered_below(block.rest, "resnets."))
    return joined(level, inner->number, residual_part(inner->rest));
  const std::string_view sampler = down ? "downsampler." : "upsampler.";
  if (!block.rest.starts_with(sampler)) return std::nullopt;
  return joined(level, down ? 2 : 3, std::string(block.rest.substr(sampler.size())));
}

/// Below "encoder." or "decoder.".
std::optional<std::string> coder_name(std::string_view name, bool encoder, bool nested) {
  if (auto middle = with_new_beginning(name, kVaeCoder)) {
    if (!middle->starts_with("middle.0.") && !middle->starts_with("middle.2.")) return middle;
    constexpr std::size_t kPrefix = std::string_view("middle.0.").size();
    return middle->substr(0, kPrefix) + residual_part(std::string_view(*middle).substr(kPrefix));
  }
  if (const auto block = numbered_below(name, encoder ? "down_blocks." : "up_blocks.")) {
    if (nested) return nested_sample(*block, encoder);
    if (!encoder) return flat_upsample(*block);
    return joined("downsamples.", block->number, residual_part(block->rest));
  }
  return std::nullopt;
}

}  // namespace

std::string transformer_name_from_diffusers(std::string_view name, int motion_levels) {
  if (const auto layer = renamed_layer(name, "blocks.", "blocks.", kTransformerBlock)) return *layer;
  if (const auto layer = renamed_layer(name, "face_adapter.", "face_adapter.fuser_blocks.", kFaceBlock))
    return *layer;
  constexpr std::string_view kMotionConvs = "motion_encoder.enc.net_app.convs.";
  if (const auto level = numbered_below(name, "motion_encoder.res_blocks."))
    if (const auto part = with_new_beginning(level->rest, kMotionLevel))
      return joined(kMotionConvs, level->number + 1, *part);
  if (name == "motion_encoder.conv_out.weight") return joined(kMotionConvs, motion_levels + 1, "weight");
  return with_new_beginning(name, kTransformerTop).value_or(std::string(name));
}

std::string vae_name_from_diffusers(std::string_view name, bool nested) {
  constexpr Pair kTop[] = {{"quant_conv", "conv1"}, {"post_quant_conv", "conv2"}};
  for (const std::string_view coder : {"encoder.", "decoder."})
    if (name.starts_with(coder))
      if (const auto inner = coder_name(name.substr(coder.size()), coder == "encoder.", nested))
        return std::string(coder) + *inner;
  return with_new_beginning(name, kTop).value_or(std::string(name));
}

std::string text_encoder_name_from_transformers(std::string_view name) {
  if (const auto layer = renamed_layer(name, "encoder.block.", "blocks.", kTextLayer)) return *layer;
  return with_new_beginning(name, kTextTop).value_or(std::string(name));
}

std::optional<OfficialRows> official_rows(std::string_view name) {
  for (const Piece& piece : kPieces) {
    const Pair parts[] = {{piece.part, piece.whole}};
    if (auto whole = renamed_layer(name, piece.theirs, piece.official, parts))
      return OfficialRows{std::move(*whole), piece.place, piece.places};
  }
  return std::nullopt;
}

std::string image_encoder_name_from_transformers(std::string_view name) {
  if (const auto layer = renamed_layer(name, kImageLayers, kOfficialImageLayers, kImageLayer)) return *layer;
  return with_new_beginning(name, kImageTop).value_or(std::string(name));
}

std::string text_encoder_name_from_llama(std::string_view name) {
  if (const auto layer = renamed_layer(name, "enc.blk.", "blocks.", kLlamaLayer)) return *layer;
  return with_new_beginning(name, kLlamaTop).value_or(std::string(name));
}

}  // namespace wan
