#pragma once
// Facts about checkpoint files for a person: what `wan inspect` prints of them.

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "tensor/dtype.h"
#include "weights/tensor_entry.h"

namespace wan {

struct TensorFacts {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;
  std::size_t bytes = 0;
};

struct DTypeFacts {
  std::size_t tensors = 0;
  std::size_t elements = 0;
  std::size_t bytes = 0;
};

/// One checkpoint: a file, or the shards that an index joins.
struct CheckpointFacts {
  std::string path;  // as given, or the folder given and the path below it
  std::string kind;  // "safetensors", "sharded safetensors", "GGUF", "PyTorch zip"
  std::vector<std::string> files;
  std::vector<TensorFacts> tensors;  // in the order of their names
  std::size_t total_bytes = 0;
  std::size_t total_elements = 0;
  std::map<DType, DTypeFacts> dtypes;
  std::map<std::string, std::string> metadata;
  std::vector<std::string> ignored;  // names of files beside it that are no part of it
  std::string
      problem;  // why a file of a folder cannot be read, an Error's message; there is nothing else of it then
};

/// `path` is what Checkpoint::open takes, or a checkpoint directory in the official layout: then every
/// checkpoint in it and in its folders, in the order of their names. Throws BadFile when there is none, and
/// what Checkpoint::open throws for a single file.
std::vector<CheckpointFacts> inspect_checkpoints(const std::filesystem::path& path);

}  // namespace wan
