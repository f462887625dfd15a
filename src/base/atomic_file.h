#pragma once
// Files that appear under their final name only when whole: written beside the target, synced, renamed.

#include <filesystem>
#include <string_view>

#include "base/temporary_file.h"

namespace wan {

/// Reserves a temporary name in the target's folder; commit() gives the file its name, the destructor removes it. Use
/// temporary_path() with any writer.
///
/// A target that is a symbolic link stays one: what it points to is written, and made where there is nothing. One that is
/// there already keeps its permissions and, where this user may give them, its owner and group. Where it has other names
/// (hard links) the finished content is copied into it, so that they show it too; then alone a reader, or a machine that
/// goes down during the copy, may see half of it.
class AtomicFile {
 public:
  /// Throws Io when the target is something that check_replaceable() refuses, or its folder does not exist or cannot be
  /// written.
  explicit AtomicFile(std::filesystem::path target);

  const std::filesystem::path& target() const { return target_; }
  /// Same folder (of what a link points to) and same extension as the target. Only its owner may read it where the target
  /// is so.
  const std::filesystem::path& temporary_path() const { return temporary_.path(); }

  /// Gives back the file descriptor that marks the temporary file as in use; see TemporaryFile::unlock().
  void unlock() { temporary_.unlock(); }

  /// Flushes the temporary file to disk and makes it the target. Throws Io; the target is then as it was, unless the
  /// message names the file that holds the content instead. What the target held before gets the name `earlier`, where one
  /// is given and the system can: then it is whole under one of the two names at every moment.
  void commit(const std::filesystem::path& earlier = {});

  /// Removes what commit() has written.
  void take_back();

 private:
  std::filesystem::path target_;
  std::filesystem::path file_;  // the target, links followed
  TemporaryFile temporary_;
};

/// Writes `content` to `target` through an AtomicFile. Throws Io, naming the file and the reason.
void write_file_atomically(const std::filesystem::path& target, std::string_view content);

/// Throws InvalidArgument where `target` is something that a file must not replace: a folder, a pipe, a device, a socket, or
/// a link to one; or where the system does not say what it is.
void check_replaceable(const std::filesystem::path& target);

/// Throws InvalidArgument unless a file could be created at `target` now: check_replaceable(), and its folder exists and is
/// writable. Leaves nothing behind, nor what killed processes have left of it.
void check_writable_target(const std::filesystem::path& target);

}  // namespace wan
