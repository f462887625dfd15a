#pragma once
// Where the parts of a checkpoint directory in the official layout lie.

#include <filesystem>
#include <vector>

namespace wan {

struct CheckpointFiles {
  std::filesystem::path root;
  /// By Expert: low_noise_model, high_noise_model; or the root itself, which then holds one transformer.
  std::vector<std::filesystem::path> transformers;
  std::filesystem::path text_encoder;  // models_t5_umt5-xxl-enc-bf16.pth
  std::filesystem::path tokenizer;     // google/umt5-xxl
  std::filesystem::path vae;           // Wan2.1_VAE.pth or Wan2.2_VAE.pth
};

/// The layout of the A14B models (two folders) or of TI2V-5B (transformer at the top). Throws BadFile, listing every part
/// that is missing, and what refuse_known_layouts() throws for another layout.
CheckpointFiles find_checkpoint_files(const std::filesystem::path& ckpt_dir);

}  // namespace wan
