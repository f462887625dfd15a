#include "weights/inspect.h"

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "weights/checkpoint.h"
#include "weights/gguf.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

bool is_index(const fs::path& path) {
  return path.filename().string().ends_with(".safetensors.index.json");
}

bool is_hidden(const fs::path& path) {
  return path.filename().string().starts_with('.');
}

CheckpointFacts inspect_one(const fs::path& path) {
  const Checkpoint checkpoint = Checkpoint::open(path);
  CheckpointFacts facts;
  facts.path = checkpoint.file().string();
  facts.ignored.assign(checkpoint.ignored_files().begin(), checkpoint.ignored_files().end());
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
  if (facts.files.empty()) facts.files.push_back(facts.path);
  const bool safetensors = facts.files.front().ends_with(".safetensors");
  facts.kind = is_index(checkpoint.file())              ? "sharded safetensors"
               : facts.files.front().ends_with(".gguf") ? "GGUF"
               : safetensors                            ? "safetensors"
                                                        : "PyTorch zip";
  return facts;
}

CheckpointFacts inspect_or_tell(const fs::path& file) {
  try {
    return inspect_one(file);
  } catch (const Error& problem) {
    CheckpointFacts facts;
    facts.path = file.string();
    facts.kind = "unreadable";
    facts.problem = problem.what();
    return facts;
  }
}

// The checkpoints of one folder: the one that stands for it where there is one, else its indexes or each file; and each file
// of PyTorch.
std::vector<CheckpointFacts> inspect_folder(const fs::path& folder) {
  std::vector<fs::path> indexes;
  std::vector<fs::path> shards;
  std::vector<fs::path> found;
  for (const fs::path& path : list_folder(folder)) {
    const fs::path extension = path.extension();
    const bool torch_name = extension == ".pth" || extension == ".pt";
    const bool gguf =
        extension == ".gguf" && gguf_parts(path).front() == path;  // the first part stands for all
    if (is_hidden(path) || (!torch_name && !gguf && extension != ".safetensors" && !is_index(path))) continue;
    if (file_kind(path) != FileKind::kRegular) continue;
    (torch_name ? found : is_index(path) ? indexes : shards).push_back(path);
  }
  std::vector<CheckpointFacts> facts;
  const std::vector<fs::path>& each = indexes.empty() ? shards : indexes;
  try {
    if (!each.empty()) facts.push_back(inspect_one(folder));
  } catch (const Error&) {
    found.insert(found.end(), each.begin(), each.end());
  }
  for (const fs::path& file : found) {
    facts.push_back(inspect_or_tell(file));
    const std::string attributes =
        "._" + file.filename().string();  // as macOS keeps them on other systems' disks
    if (file_exists(folder / attributes)) facts.back().ignored.push_back(attributes);
  }
  std::sort(facts.begin(), facts.end(), [](const auto& a, const auto& b) { return a.path < b.path; });
  return facts;
}

}  // namespace

std::vector<CheckpointFacts> inspect_checkpoints(const fs::path& path) {
  if (!is_folder(path)) return {inspect_one(path)};
  std::vector<CheckpointFacts> facts = inspect_folder(path);
  for (const fs::path& folder : list_folder(path)) {
    if (!is_folder(folder)) continue;
    for (CheckpointFacts& each : inspect_folder(folder)) facts.push_back(std::move(each));
  }
  WAN_CHECK(!facts.empty(), kBadFile,
            "[{}] holds no .safetensors, .gguf or .pth file, nor do its folders; name a checkpoint directory",
            path.string());
  return facts;
}

}  // namespace wan
