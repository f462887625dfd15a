#include "weights/inspect.h"

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "weights/checkpoint.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

bool is_index(const fs::path& path) {
  return path.filename().string().ends_with(".safetensors.index.json");
}

CheckpointFacts inspect_one(const fs::path& path) {
  const Checkpoint checkpoint = Checkpoint::open(path);
  CheckpointFacts facts;
  facts.path = path.string();
  facts.metadata = checkpoint.metadata();
  facts.total_bytes = checkpoint.total_bytes();
  for (const TensorEntry& entry : checkpoint.entries()) {
    const auto elements = static_cast<std::size_t>(entry.elements());
    facts.tensors.push_back({entry.name, entry.dtype, entry.shape, entry.bytes()});
    facts.files.push_back(entry.file);
    facts.total_elements += elements;
    DTypeFacts& dtype = facts.dtypes[entry.dtype];
    ++dtype.tensors;
    dtype.elements += elements;
    dtype.bytes += entry.bytes();
  }
  std::sort(facts.files.begin(), facts.files.end());
  facts.files.erase(std::unique(facts.files.begin(), facts.files.end()), facts.files.end());
  if (facts.files.empty()) facts.files.push_back(path.string());
  const bool safetensors = facts.files.front().ends_with(".safetensors");
  facts.kind = is_index(path) ? "sharded safetensors" : safetensors ? "safetensors" : "PyTorch zip";
  return facts;
}

// The checkpoints of one folder: its index alone where it has one, else each file.
std::vector<fs::path> checkpoints_in(const fs::path& folder) {
  std::vector<fs::path> indexes;
  std::vector<fs::path> shards;
  std::vector<fs::path> torch_files;
  for (const fs::path& path : list_folder(folder)) {
    const fs::path extension = path.extension();
    const bool torch_name = extension == ".pth" || extension == ".pt";
    if (!torch_name && extension != ".safetensors" && !is_index(path)) continue;
    if (file_kind(path) != FileKind::kRegular) continue;
    (torch_name ? torch_files : is_index(path) ? indexes : shards).push_back(path);
  }
  std::vector<fs::path> found = indexes.empty() ? shards : indexes;
  found.insert(found.end(), torch_files.begin(), torch_files.end());
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace

std::vector<CheckpointFacts> inspect_checkpoints(const fs::path& path) {
  if (!is_folder(path)) return {inspect_one(path)};
  std::vector<fs::path> found = checkpoints_in(path);
  for (const fs::path& folder : list_folder(path)) {
    if (!is_folder(folder)) continue;
    for (const fs::path& file : checkpoints_in(folder)) found.push_back(file);
  }
  WAN_CHECK(!found.empty(), kBadFile,
            "[{}] holds no .safetensors and no .pth file, nor do its folders; name a checkpoint directory",
            path.string());
  std::vector<CheckpointFacts> facts;
  for (const fs::path& file : found) {
    try {
      facts.push_back(inspect_one(file));
    } catch (const Error& problem) {
      facts.emplace_back();
      facts.back().path = file.string();
      facts.back().kind = "unreadable";
      facts.back().problem = problem.what();
    }
  }
  return facts;
}

}  // namespace wan
