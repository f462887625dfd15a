#pragma once
// The files of a language model: where they are found, and what is read of them before any weight is: a folder of safetensors files, or a
// GGUF file, which holds its tokenizer too.

#include <cstdint>
#include <filesystem>
#include <string>

#include "models/qwen/config.h"
#include "tokenizers/byte_level_tokenizer.h"
#include "weights/checkpoint.h"

namespace wan {

/// The folder or GGUF file of prompt_extend_model: a path, or of a model's name ("Qwen2.5_7B", "Qwen/Qwen2.5-7B-Instruct") a folder of that
/// name here or beside `ckpt_dir`, a folder or the name of a downloaded one; where downloads are put, or Hugging Face's cache. Throws BadFile where there is
/// none.
std::filesystem::path find_language_model(const std::string& model, bool has_image,
                                          const std::filesystem::path& ckpt_dir);

/// Throws Unsupported where there is an image and the model sees none.
void check_sees(const std::filesystem::path& model, const std::filesystem::path& image);

struct LanguageModelFiles {
  std::filesystem::path path;  // as it was found
  ByteLevelTokenizer tokenizer;
  SamplingConfig sampling;
  QwenConfig config;
  Checkpoint checkpoint;  // by the names of the safetensors files

  /// bf16, where the layers' matrices are that or packed, otherwise f32.
  DType weights_dtype() const;
};

/// Throws BadFile and Unsupported, naming the file and what is wrong in it.
LanguageModelFiles open_language_model(const std::filesystem::path& path);

}  // namespace wan
