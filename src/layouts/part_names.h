#pragma once
// What other programs call the tensors of Wan's models, and the official names, which models alone know.
//
// A function takes the whole name of a tensor and gives its official one; what it does not know it gives back unchanged, so that a
// report of unused tensors shows what the file has.

#include <string>
#include <string_view>

namespace wan {

/// diffusers' WanTransformer3DModel, and its names in LoRAs: "blocks.0.attn1.to_q.weight" is "blocks.0.self_attn.q.weight".
std::string transformer_name_from_diffusers(std::string_view name);

/// diffusers' AutoencoderKLWan: "decoder.mid_block.resnets.0.norm1.gamma" is "decoder.middle.0.residual.0.gamma". VAE 2.1 has its layers
/// in one row, VAE 2.2 (`nested`) in blocks.
std::string vae_name_from_diffusers(std::string_view name, bool nested);

/// transformers' UMT5EncoderModel, as diffusers' and ComfyUI's folders have it: "encoder.block.0.layer.0.SelfAttention.q.weight" is
/// "blocks.0.attn.q.weight".
std::string text_encoder_name_from_transformers(std::string_view name);

/// The same from llama.cpp's names: "enc.blk.0.attn_q.weight".
std::string text_encoder_name_from_llama(std::string_view name);

}  // namespace wan
