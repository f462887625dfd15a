#pragma once
// Looking into checkpoints: what `wan inspect` and `wan tokenize` print.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace wan {

/// A prompt as the text encoder sees it.
struct TokenizedText {
  std::string cleaned;            // after the official cleaning
  std::vector<std::int64_t> ids;  // the used ones, end mark included
  int limit;                      // 512
  bool truncated;
};

/// Throws BadFile where `ckpt_dir` holds no tokenizer and InvalidArgument for text that is not UTF-8.
TokenizedText tokenize(const std::filesystem::path& ckpt_dir, const std::string& prompt);

/// One tensor file or model folder.
struct InspectedTensor {
  std::string name;
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::int64_t bytes;
};

struct InspectedModel {
  std::string path;  // as given, or relative to the checkpoint directory
  std::string kind;  // "diffusion transformer", "umT5 text encoder", "VAE 2.1", "VAE 2.2", "tensors"
  std::vector<std::pair<std::string, std::string>> dimensions;  // "dim" -> "5120", ...
  std::vector<InspectedTensor> tensors;                         // in the order of their names
  std::int64_t bytes;
  std::vector<std::string> ignored;  // names of files beside it that are no part of it: a LoRA, macOS's "._*"
  std::string findings;  // missing, unused and mis-shaped tensors, why it cannot be read; empty: none
};

/// A file (.safetensors, .pth), a model's folder, or a whole checkpoint directory; of the latter, what generation would
/// refuse beside its models' findings is an entry of its own. Throws BadFile for a file that cannot be read and a folder
/// without any.
std::vector<InspectedModel> inspect(const std::filesystem::path& path);

}  // namespace wan
