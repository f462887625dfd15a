#include "weights/inspect.h"

#include <algorithm>

#include "base/error.h"
#include "weights/checkpoint.h"

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
  facts.kind = is_index(checkpoint.file()) ? "sharded safetensors"
               : safetensors               ? "safetensors"
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
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    if (!entry.is_regular_file() || is_hidden(entry.path())) continue;
    const fs::path extension = entry.path().extension();
    if (is_index(entry.path())) indexes.push_back(entry.path());
    if (extension == ".safetensors") shards.push_back(entry.path());
    if (extension == ".pth" || extension == ".pt") found.push_back(entry.path());
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
    if (fs::exists(folder / attributes)) facts.back().ignored.push_back(attributes);
  }
  std::sort(facts.begin(), facts.end(), [](const auto& a, const auto& b) { return a.path < b.path; });
  return facts;
}

}  // namespace

std::vector<CheckpointFacts> inspect_checkpoints(const fs::path& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return {inspect_one(path)};
  std::vector<CheckpointFacts> facts;
  try {
    facts = inspect_folder(path);
    std::vector<fs::path> folders;
    for (const fs::directory_entry& entry : fs::directory_iterator(path))
      if (entry.is_directory()) folders.push_back(entry.path());
    std::sort(folders.begin(), folders.end());
    for (const fs::path& folder : folders)
      for (CheckpointFacts& each : inspect_folder(folder)) facts.push_back(std::move(each));
  } catch (const fs::filesystem_error& failure) {
    fail(ErrorCode::kBadFile, "cannot read the folder {}: {}", path.string(), failure.code().message());
  }
  WAN_CHECK(!facts.empty(), kBadFile,
            "[{}] holds no .safetensors and no .pth file, nor do its folders; name a checkpoint directory",
            path.string());
  return facts;
}

}  // namespace wan
