#pragma once
// Files that appear under their final name only when whole: written beside the target, synced, renamed.

#include <filesystem>
#include <string_view>

namespace wan {

/// Reserves a temporary name in the target's folder; commit() renames it to the target, the destructor
/// removes it. Use temporary_path() with any writer. Throws Io when the folder does not exist or cannot be
/// written.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path target);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  const std::filesystem::path& target() const { return target_; }
  /// Same folder and same extension as the target: ".<stem>.<pid>-<n>.partial<ext>".
  const std::filesystem::path& temporary_path() const { return temporary_; }

  /// Flushes the temporary file to disk and renames it over the target. Throws Io.
  void commit();

 private:
  std::filesystem::path target_;
  std::filesystem::path temporary_;
  bool committed_ = false;
};

/// Writes `content` to `target` through an AtomicFile. Throws Io, naming the file and the reason.
void write_file_atomically(const std::filesystem::path& target, std::string_view content);

/// Throws InvalidArgument unless a file could be created at `target` now: its folder exists and is writable,
/// and the target is not a folder. Leaves nothing behind.
void check_writable_target(const std::filesystem::path& target);

}  // namespace wan
