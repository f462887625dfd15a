#include "weights/checkpoint.h"

#include <algorithm>
#include <set>

#include "base/checked_math.h"
#include "base/files.h"
#include "base/mapped_file.h"
#include "base/untrusted_text.h"
#include "weights/gguf.h"
#include "weights/pth.h"
#include "weights/safetensors.h"
#include "weights/scaled_weights.h"

namespace wan {

namespace fs = std::filesystem;

struct Checkpoint::State {
  std::string path;
  std::shared_ptr<const std::vector<MappedFile>> files;  // may be several checkpoints'
  fs::path file;
  std::vector<std::string> ignored;
  std::vector<TensorEntry> entries;
  std::map<std::string, std::string> metadata;
  std::size_t total_bytes = 0;
};

namespace {

constexpr std::string_view kOfficialName = "diffusion_pytorch_model";
constexpr std::string_view kIndexSuffix = ".safetensors.index.json";
constexpr std::string_view kFileSuffix = ".safetensors";
constexpr std::string_view kGgufSuffix = ".gguf";

constexpr std::string_view kAppleDouble("\x00\x05\x16\x07", 4);

bool begins_with(std::span<const std::byte> bytes, std::string_view magic) {
  return bytes.size() >= magic.size() &&
         std::equal(magic.begin(), magic.end(), reinterpret_cast<const char*>(bytes.data()));
}

CheckpointFile parse_any(std::span<const std::byte> bytes, const fs::path& path) {
  const std::string file = path.string();
  WAN_CHECK(!bytes.empty(), kBadFile, "[{}] is empty; download it again", file);
  if (begins_with(bytes, "GGUF")) return parse_gguf(bytes, file);
  WAN_CHECK(!begins_with(bytes, "version https://git-lfs"), kBadFile,
            "[{}] is a Git LFS pointer, not the file itself; fetch it with git lfs pull", file);
  WAN_CHECK(
      !begins_with(bytes, kAppleDouble), kBadFile,
      "[{}] is what macOS keeps of a file's attributes, not the file itself; name the file without \"._\"",
      file);
  if (path.extension() == kFileSuffix) return parse_safetensors(bytes, file);
  const bool torch_name = path.extension() == ".pth" || path.extension() == ".pt";
  if (torch_name || begins_with(bytes, "PK") || begins_with(bytes, "\x80")) return parse_pth(bytes, file);
  // A safetensors file under another name: its JSON follows the 8 bytes of the header's length.
  if (bytes.size() > 8 && bytes[8] == std::byte{'{'}) return parse_safetensors(bytes, file);
  fail(ErrorCode::kBadFile, "[{}] is neither a .safetensors, .gguf nor a .pth file of torch.save", file);
}

// A file named by a folder's index must lie in that folder after links are followed. The Hugging Face cache
// links a snapshot's files to ../../blobs, beside "snapshots": that one way out is known.
void check_inside(const fs::path& file, const fs::path& folder) {
  std::error_code error;
  const fs::path real_file = fs::canonical(file, error);
  WAN_CHECK(!error, kBadFile, "cannot open {}: {}; the checkpoint is incomplete, download it again",
            file.string(), error.message());
  const fs::path real_folder = fs::canonical(folder, error);
  const auto contains = [&](const fs::path& root) {
    const auto [in_root, in_file] =
        std::mismatch(root.begin(), root.end(), real_file.begin(), real_file.end());
    return in_root == root.end();
  };
  if (contains(real_folder)) return;
  for (fs::path parent = real_folder; parent.has_relative_path(); parent = parent.parent_path())
    if (parent.filename() == "snapshots" && contains(parent.parent_path() / "blobs")) return;
  fail(ErrorCode::kBadFile, "[{}] is a link out of its folder, to {}; put the file itself there",
       file.string(), real_file.string());
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> found;
  for (const fs::path& path : list_folder(folder)) found.push_back(path.filename().string());
  return found;
}

/// The one name of `names` that stands for a folder's checkpoint: the official ones before all others.
std::string choose(const std::vector<std::string>& names, const fs::path& folder) {
  for (const std::string_view suffix : {kIndexSuffix, kFileSuffix})
    for (const std::string& name : names)
      if (name.starts_with(kOfficialName) && name.substr(kOfficialName.size()) == suffix) return name;
  const auto chosen_among = [&](std::string_view prefix, std::string_view suffix) -> std::string {
    std::vector<std::string> found;
    for (const std::string& name : names)
      if (name.starts_with(prefix) && name.ends_with(suffix)) found.push_back(name);
    WAN_CHECK(
        found.size() <= 1, kBadFile,
        "[{}] expected one checkpoint, got {} files ending in {} ({}, {} ...); name one of them, or add the "
        "missing {}{} that joins the shards",
        folder.string(), found.size(), suffix, quote_name(found[0]), quote_name(found[1]), kOfficialName,
        kIndexSuffix);
    return found.empty() ? std::string() : found[0];
  };
  for (const std::string_view suffix : {kIndexSuffix, kFileSuffix})
    for (const std::string_view prefix : {kOfficialName, std::string_view()})
      if (std::string name = chosen_among(prefix, suffix); !name.empty()) return name;
  if (std::string name = chosen_among(std::string_view(), kGgufSuffix); !name.empty()) return name;
  fail(ErrorCode::kBadFile,
       "[{}] expected {}{} with its shards, or a {} file, got none; the download is incomplete or this "
       "is another folder",
       folder.string(), kOfficialName, kIndexSuffix, kFileSuffix);
}

/// What stands for a folder's checkpoint.
struct FolderChoice {
  fs::path file;
  std::vector<std::string> others;  // names of files beside it that look like one too
};

FolderChoice choose_in_folder(const fs::path& folder) {
  FolderChoice choice;
  std::vector<std::string> candidates;
  for (std::string& name : names_in(folder)) {
    if (!name.ends_with(kIndexSuffix) && !name.ends_with(kFileSuffix) && !name.ends_with(kGgufSuffix))
      continue;
    // Hidden files are nobody's checkpoint: macOS keeps a file's attributes in "._NAME" beside it. The first part of a divided file
    // stands for all.
    if (!name.starts_with('.') && gguf_parts(name).front() == name) candidates.push_back(name);
    choice.others.push_back(std::move(name));
  }
  const std::string name = choose(candidates, folder);
  choice.file = folder / name;
  std::erase(choice.others, name);
  check_inside(choice.file, folder);
  return choice;
}

// Every tensor of the index is in its shard, and every tensor of a shard is in the index.
void check_against_index(const std::map<std::string, std::string>& shard_of, const std::string& shard,
                         const CheckpointFile& file, const std::string& index) {
  std::size_t expected = 0;
  std::string absent;
  std::set<std::string_view> held;
  for (const TensorEntry& tensor : file.tensors) {
    held.insert(tensor.name);
    const auto found = shard_of.find(tensor.name);
    WAN_CHECK(found != shard_of.end() && found->second == shard, kBadFile,
              "[{}] {} holds tensor {}, which the index {}; index and shards are of different downloads, get "
              "both again",
              index, quote_name(shard), quote_name(tensor.name),
              found == shard_of.end() ? "does not name" : "places in " + quote_name(found->second));
  }
  for (const auto& [name, in_shard] : shard_of) {
    if (in_shard != shard || held.contains(name)) continue;
    if (expected++ == 0) absent = name;
  }
  WAN_CHECK(expected == 0, kBadFile,
            "[{}] {} tensors are not in {} where the index places them, {} first; index and shards are of "
            "different "
            "downloads, get both again",
            index, expected, quote_name(shard), quote_name(absent));
}

}  // namespace

std::shared_ptr<Checkpoint::State> Checkpoint::build(std::vector<CheckpointFile> files,
                                                     const std::string& path,
                                                     std::shared_ptr<const std::vector<MappedFile>> mapped) {
  auto state = std::make_shared<State>();
  state->path = path;
  state->files = std::move(mapped);
  for (CheckpointFile& file : files) {
    if (state->metadata.empty()) state->metadata = std::move(file.metadata);
    for (TensorEntry& tensor : file.tensors) {
      state->total_bytes = checked_add(state->total_bytes, tensor.bytes(), path.c_str(), ErrorCode::kBadFile);
      state->entries.push_back(std::move(tensor));
    }
  }
  const auto by_name = [](const TensorEntry& a, const TensorEntry& b) { return a.name < b.name; };
  std::sort(state->entries.begin(), state->entries.end(), by_name);
  const auto repeated = std::adjacent_find(state->entries.begin(), state->entries.end(),
                                           [](const auto& a, const auto& b) { return a.name == b.name; });
  WAN_CHECK(repeated == state->entries.end(), kBadFile, "[{}] tensor {} stands twice; download it again",
            path, quote_name(repeated->name));
  return state;
}

Checkpoint Checkpoint::from_files(std::vector<CheckpointFile> files, const std::string& path) {
  return Checkpoint(build(std::move(files), path, nullptr));
}

Checkpoint Checkpoint::open(const fs::path& path) {
  const FileKind kind = file_kind(path);
  WAN_CHECK(kind != FileKind::kNothing, kBadFile, "cannot open {}: it does not exist; check the path",
            path.string());
  FolderChoice choice = kind == FileKind::kFolder ? choose_in_folder(path) : FolderChoice{path, {}};
  const fs::path& chosen = choice.file;

  std::vector<MappedFile> mapped;
  std::vector<CheckpointFile> files;
  if (!chosen.filename().string().ends_with(kIndexSuffix)) {
    for (const fs::path& part : gguf_parts(chosen)) {
      std::erase(choice.others, part.filename().string());
      if (kind == FileKind::kFolder) check_inside(part, path);
      mapped.emplace_back(part);
      files.push_back(parse_any(mapped.back().bytes(), part));
    }
    if (begins_with(mapped.front().bytes(), "GGUF")) check_gguf_parts(files, chosen.string());
  } else {
    const MappedFile index(chosen);
    const auto shard_of = parse_safetensors_index(index.bytes(), chosen.string());
    std::vector<std::string> shards;
    for (const auto& [tensor, shard] : shard_of) shards.push_back(shard);
    std::sort(shards.begin(), shards.end());
    shards.erase(std::unique(shards.begin(), shards.end()), shards.end());
    const fs::path folder = chosen.has_parent_path() ? chosen.parent_path() : fs::path(".");
    for (const std::string& shard : shards) {
      std::erase(choice.others, shard);
      check_inside(folder / shard, folder);
      mapped.emplace_back(folder / shard);
      files.push_back(parse_safetensors(mapped.back().bytes(), (folder / shard).string()));
      check_against_index(shard_of, shard, files.back(), chosen.string());
    }
  }
  attach_scales(files, path.string());
  for (const MappedFile& file : mapped) file.check_whole();  // scales have been read out of it
  auto state = build(std::move(files), path.string(),
                     std::make_shared<const std::vector<MappedFile>>(std::move(mapped)));
  state->file = std::move(choice.file);
  state->ignored = std::move(choice.others);
  return Checkpoint(std::move(state));
}

Checkpoint Checkpoint::with_entries(std::vector<TensorEntry> entries) const {
  std::vector<CheckpointFile> files;
  files.push_back({.tensors = std::move(entries), .metadata = metadata()});
  auto state = build(std::move(files), path(), state_->files);
  state->file = state_->file;
  state->ignored = state_->ignored;
  return Checkpoint(std::move(state));
}

Checkpoint Checkpoint::renamed(
    const std::function<std::optional<std::string>(const TensorEntry& entry)>& name_of) const {
  std::vector<TensorEntry> named;
  for (const TensorEntry& entry : entries()) {
    std::optional<std::string> name = name_of(entry);
    if (!name) continue;
    named.push_back(entry);
    named.back().name = std::move(*name);
  }
  return with_entries(std::move(named));
}

Checkpoint Checkpoint::changed(
    const std::map<std::string, std::shared_ptr<const WeightChange>>& changes) const {
  std::vector<TensorEntry> changed(entries().begin(), entries().end());
  for (TensorEntry& entry : changed)
    if (const auto found = changes.find(entry.name); found != changes.end()) entry.change = found->second;
  return with_entries(std::move(changed));
}

const std::string& Checkpoint::path() const {
  return state_->path;
}

const fs::path& Checkpoint::file() const {
  return state_->file;
}

std::vector<fs::path> Checkpoint::mapped_files() const {
  std::vector<fs::path> paths;
  if (state_->files != nullptr)
    for (const MappedFile& file : *state_->files) paths.push_back(file.path());
  return paths;
}

std::span<const std::string> Checkpoint::ignored_files() const {
  return state_->ignored;
}

std::span<const TensorEntry> Checkpoint::entries() const {
  return state_->entries;
}

const TensorEntry* Checkpoint::find(std::string_view name) const {
  const auto found =
      std::lower_bound(state_->entries.begin(), state_->entries.end(), name,
                       [](const TensorEntry& entry, std::string_view key) { return entry.name < key; });
  return found != state_->entries.end() && found->name == name ? &*found : nullptr;
}

const MappedFile* Checkpoint::file_of(const TensorEntry& entry) const {
  if (!state_->files) return nullptr;
  for (const MappedFile& file : *state_->files) {
    const std::span<const std::byte> bytes = file.bytes();
    if (entry.storage.data() >= bytes.data() && entry.storage.data() < bytes.data() + bytes.size())
      return &file;
  }
  return nullptr;
}

void Checkpoint::read_ahead(const TensorEntry& entry) const {
  if (const MappedFile* file = file_of(entry)) file->read_ahead(entry.storage);
}

void Checkpoint::check_read(const TensorEntry& entry) const {
  if (const MappedFile* file = file_of(entry)) file->check_whole();
}

void Checkpoint::release_pages(const TensorEntry& entry) const {
  if (const MappedFile* file = file_of(entry)) file->release_pages(entry.storage);
}

void Checkpoint::done_reading(const TensorEntry& entry) const {
  check_read(entry);
  release_pages(entry);
  if (entry.change != nullptr) entry.change->done_reading();
}

std::size_t Checkpoint::total_bytes() const {
  return state_->total_bytes;
}

const std::map<std::string, std::string>& Checkpoint::metadata() const {
  return state_->metadata;
}

}  // namespace wan
