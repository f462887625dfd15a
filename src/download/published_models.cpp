#include "download/published_models.h"

#include "wan/download.h"

namespace wan {

namespace {

using Patterns = std::vector<std::string_view>;

/// With what all models share.
Patterns with_text_encoder(Patterns patterns) {
  patterns.insert(patterns.end(), {"models_t5_umt5-xxl-enc-bf16.pth", "google/umt5-xxl/*"});
  return patterns;
}

Patterns two_experts() {
  return with_text_encoder({"high_noise_model/config.json", "high_noise_model/*.safetensors*",
                            "low_noise_model/config.json", "low_noise_model/*.safetensors*",
                            "Wan2.1_VAE.pth"});
}

Patterns one_transformer(Patterns others) {
  others.insert(others.end(), {"config.json", "diffusion_pytorch_model*.safetensors*"});
  return with_text_encoder(std::move(others));
}

}  // namespace

const std::vector<PublishedFiles>& published_files() {
  static const std::vector<PublishedFiles> all = {
      {"t2v-A14B", "Wan-AI/Wan2.2-T2V-A14B", two_experts()},
      {"i2v-A14B", "Wan-AI/Wan2.2-I2V-A14B", two_experts()},
      {"ti2v-5B", "Wan-AI/Wan2.2-TI2V-5B", one_transformer({"Wan2.2_VAE.pth"})},
      {"s2v-14B", "Wan-AI/Wan2.2-S2V-14B",
       one_transformer({"Wan2.1_VAE.pth", "wav2vec2-large-xlsr-53-english/*.json",
                        "wav2vec2-large-xlsr-53-english/model.safetensors"})},
      {"animate-14B", "Wan-AI/Wan2.2-Animate-14B",
       one_transformer({"Wan2.1_VAE.pth", "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth",
                        "relighting_lora.ckpt", "process_checkpoint/det/yolov10m.onnx",
                        "process_checkpoint/pose2d/vitpose_h_wholebody.onnx/*",
                        "process_checkpoint/sam2/sam2_hiera_large.pt"})}};
  return all;
}

const PublishedFiles* find_published(std::string_view name) {
  for (const PublishedFiles& model : published_files())
    if (model.name == name || model.repository == name) return &model;
  return nullptr;
}

std::vector<PublishedModel> published_models() {
  std::vector<PublishedModel> models;
  for (const PublishedFiles& model : published_files())
    models.push_back({std::string(model.name), std::string(model.repository)});
  return models;
}

}  // namespace wan
