#pragma once
// What other programs call the tensors of Wan's models, and the official names, which models alone know.
//
// A function takes the whole name of a tensor and gives its official one; what it does not know it gives back unchanged, so that a
// report of unused tensors shows what the file has.

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace wan {

/// diffusers' WanTransformer3DModel, and its names in LoRAs: "blocks.0.attn1.to_q.weight" is "blocks.0.self_attn.q.weight".
/// WanAnimateTransformer3DModel's too, but for what official_rows() knows; how many levels its motion encoder has, the names of its last
/// convolution do not tell.
std::string transformer_name_from_diffusers(std::string_view name, int motion_levels = 7);

/// Some rows of an official tensor, which another layout stores as a tensor by itself.
struct OfficialRows {
  std::string name;    // the official tensor's
  std::size_t piece;   // which of its pieces in the order of rows
  std::size_t pieces;  // of one size
};

/// diffusers' "face_adapter.0.to_v.weight" is the second of two pieces of "face_adapter.fuser_blocks.0.linear1_kv.weight"; transformers'
/// "vision_model.encoder.layers.0.self_attn.q_proj.weight" the first of three of "visual.transformer.0.attn.to_qkv.weight". Nothing for a
/// name of a whole tensor.
std::optional<OfficialRows> official_rows(std::string_view name);

/// diffusers' AutoencoderKLWan: "decoder.mid_block.resnets.0.norm1.gamma" is "decoder.middle.0.residual.0.gamma". VAE 2.1 has its layers
/// in one row, VAE 2.2 (`nested`) in blocks.
std::string vae_name_from_diffusers(std::string_view name, bool nested);

/// transformers' UMT5EncoderModel, as diffusers' and ComfyUI's folders have it: "encoder.block.0.layer.0.SelfAttention.q.weight" is
/// "blocks.0.attn.q.weight".
std::string text_encoder_name_from_transformers(std::string_view name);

/// The same from llama.cpp's names: "enc.blk.0.attn_q.weight".
std::string text_encoder_name_from_llama(std::string_view name);

/// transformers' CLIPVisionModel, but for what official_rows() knows: "vision_model.encoder.layers.0.layer_norm1.weight" is
/// "visual.transformer.0.norm1.weight".
std::string image_encoder_name_from_transformers(std::string_view name);

}  // namespace wan
