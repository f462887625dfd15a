#pragma once
// Where the parts of a checkpoint directory in the official layout lie.

#include <array>
#include <filesystem>

#include "diffusion/guidance.h"

namespace wan {

struct CheckpointFiles {
  std::filesystem::path root;
  std::array<std::filesystem::path, 2> experts;  // by Expert: low_noise_model, high_noise_model
  std::filesystem::path text_encoder;            // models_t5_umt5-xxl-enc-bf16.pth
  std::filesystem::path tokenizer;               // google/umt5-xxl
  std::filesystem::path vae;                     // Wan2.1_VAE.pth

  const std::filesystem::path& expert(Expert which) const { return experts[static_cast<std::size_t>(which)]; }
};

/// The layout of Wan2.2-T2V-A14B. Throws BadFile, listing every part that is missing.
CheckpointFiles find_checkpoint_files(const std::filesystem::path& ckpt_dir);

}  // namespace wan
