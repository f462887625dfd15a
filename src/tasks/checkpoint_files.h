#pragma once
// Where the parts of a checkpoint directory in the official layout lie.

#include <filesystem>
#include <vector>

#include "tasks/task.h"

namespace wan {

struct CheckpointFiles {
  std::filesystem::path root;
  const Task* task;  // that it is for
  /// By Expert: low_noise_model, high_noise_model; or the root itself, which then holds one transformer.
  std::vector<std::filesystem::path> transformers;
  std::filesystem::path text_encoder;  // models_t5_umt5-xxl-enc-bf16.pth
  std::filesystem::path tokenizer;     // google/umt5-xxl
  std::filesystem::path vae;           // Wan2.1_VAE.pth or Wan2.2_VAE.pth
  /// wav2vec2-large-xlsr-53-english, of tasks that take sound; otherwise empty.
  std::filesystem::path audio_encoder;
  /// models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth, of tasks whose transformers attend to an image; otherwise empty.
  std::filesystem::path image_encoder;
};

/// Finds the task by what its transformers' config.json says they are and by where they lie, and then its files. Throws BadFile, listing
/// every part that is missing, Unsupported for a checkpoint that no task of this version is for, and what refuse_known_layouts()
/// throws for another layout.
CheckpointFiles find_checkpoint_files(const std::filesystem::path& ckpt_dir);

}  // namespace wan
