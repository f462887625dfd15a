#pragma once
// Files that appear under their final name only when whole: written beside the target, synced, renamed.

#include <filesystem>
#include <span>
#include <string_view>

namespace wan {

/// Reserves a temporary name in the target's folder; commit() renames it to the target, the destructor
/// removes it. A target that is a symbolic link stays one: what it points to is written. Use temporary_path() with any
/// writer. Throws Io when the folder does not exist or cannot be written.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path target);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  const std::filesystem::path& target() const { return target_; }
  /// Same folder (of what a link points to) and same extension as the target: ".<stem>.<pid>-<n>.partial<ext>".
  const std::filesystem::path& temporary_path() const { return temporary_; }

  /// Flushes the temporary file to disk and renames it over the target. Throws Io.
  void commit();

 private:
  std::filesystem::path target_;
  std::filesystem::path file_;  // the target, links followed
  std::filesystem::path temporary_;
  bool committed_ = false;
};

/// Writes `content` to `target` through an AtomicFile. Throws Io, naming the file and the reason.
void write_file_atomically(const std::filesystem::path& target, std::string_view content);

/// Removes the temporary files that processes which exist no longer (killed, or the machine went down) have left of these
/// targets, all in one folder.
void remove_abandoned(std::span<const std::filesystem::path> targets);

/// Throws InvalidArgument unless a file could be created at `target` now: its folder exists and is writable,
/// and the target is not a folder. Leaves nothing behind, nor what killed processes have left of it.
void check_writable_target(const std::filesystem::path& target);

}  // namespace wan
