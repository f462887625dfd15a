#pragma once
// Checkpoint: a validated, memory-mapped directory of tensors. Nothing is read, converted or copied until a
// tensor's bytes are used.

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "weights/tensor_entry.h"

namespace wan {

class MappedFile;

/// A handle; copies share the mapped files, which live as long as any of them.
class Checkpoint {
 public:
  /// `path` is a `.safetensors` or `.gguf` file (of one that is divided, any part), a `.pth` or `.pt` file of torch.save, a `*.safetensors.index.json`, or
  /// a folder: its `diffusion_pytorch_model.safetensors[.index.json]`, or its only index, or its only
  /// `.safetensors` file, or its only `.gguf` one; other files beside it are ignored_files(). Throws BadFile (missing, truncated,
  /// malformed, malicious, leaving its folder) or Unsupported (a format or dtype that is not read), naming
  /// the file, the tensor and what to do.
  static Checkpoint open(const std::filesystem::path& path);
  /// From files already parsed; their bytes must outlive every copy. Throws BadFile when a name stands twice.
  static Checkpoint from_files(std::vector<CheckpointFile> files, const std::string& path);

  /// This checkpoint with other names, which shares its files; what has none is left out. Throws BadFile when two tensors get one name.
  Checkpoint renamed(
      const std::function<std::optional<std::string>(const TensorEntry& entry)>& name_of) const;
  /// Others in the place of its entries: of its files, or of memory that they hold themselves. Throws BadFile when a name stands twice.
  Checkpoint with_entries(std::vector<TensorEntry> entries) const;
  /// This checkpoint with changes to the values of the tensors that are named.
  Checkpoint changed(const std::map<std::string, std::shared_ptr<const WeightChange>>& changes) const;

  /// The path that was opened.
  const std::string& path() const;
  /// The file or index that was opened, or chosen in the folder; empty for from_files().
  const std::filesystem::path& file() const;
  /// All files that its tensors lie in; empty for from_files().
  std::vector<std::filesystem::path> mapped_files() const;
  /// Names of files in the opened folder that look like a checkpoint's but are no part of this one, in their order: a LoRA, another
  /// checkpoint, macOS's "._*". Empty where a file was opened.
  std::span<const std::string> ignored_files() const;
  /// In the order of their names; pointers and spans stay valid as long as a copy of the checkpoint lives.
  std::span<const TensorEntry> entries() const;
  /// nullptr when there is none of that name.
  const TensorEntry* find(std::string_view name) const;
  /// Has a tensor's bytes brought into the page cache, so that what is read next comes at the disk's rate instead of a page
  /// fault at a time. May take as long as the disk's queue is full; thread-safe. Does nothing for bytes that the checkpoint did not map itself.
  void read_ahead(const TensorEntry& entry) const;
  /// To be called once values have been taken out of a tensor's bytes: throws BadFile where its file has been cut short, or
  /// could not be read, so that they may be others. Does nothing for bytes that the checkpoint did not map itself.
  void check_read(const TensorEntry& entry) const;
  /// Takes a tensor's mapped pages out of this process's memory, once they have been converted. They stay in the page
  /// cache and may be read again. Does nothing for bytes that the checkpoint did not map itself.
  void release_pages(const TensorEntry& entry) const;
  /// Both, once a weight has been loaded, of the tensor and of the files that its change reads. Throws BadFile.
  void done_reading(const TensorEntry& entry) const;
  /// Sum of the tensors' sizes.
  std::size_t total_bytes() const;
  /// What the (first) safetensors file says of itself; empty for a .pth.
  const std::map<std::string, std::string>& metadata() const;

 private:
  struct State;
  static std::shared_ptr<State> build(std::vector<CheckpointFile> files, const std::string& path,
                                      std::shared_ptr<const std::vector<MappedFile>> mapped);
  /// nullptr where the checkpoint did not map the tensor's bytes itself, and for an empty tensor.
  const MappedFile* file_of(const TensorEntry& entry) const;
  explicit Checkpoint(std::shared_ptr<const State> state) : state_(std::move(state)) {}
  std::shared_ptr<const State> state_;
};

}  // namespace wan
