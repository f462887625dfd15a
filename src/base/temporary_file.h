#pragma once
// Files under construction, beside what they are to replace, and the removal of those that killed processes left.

#include <filesystem>
#include <span>
#include <string>

namespace wan {

/// A new, empty file ".<stem>.<owner>-<n>.partial<ext>" in the folder of `file`; <owner> is a number of this process alone,
/// drawn when it starts. A lock (flock) on it says that it is in use, to processes of other containers too, and ends with
/// the process. The destructor removes the file.
class TemporaryFile {
 public:
  /// `mode` is subject to the umask. Throws Io.
  TemporaryFile(const std::filesystem::path& file, unsigned mode);
  ~TemporaryFile();
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  const std::filesystem::path& path() const { return path_; }

  /// Gives the lock and its file descriptor back. As long as another temporary file of this process in the folder is locked,
  /// no one takes this one for abandoned.
  void unlock();

  /// The file has its final name, or goes without one: the destructor leaves `path()` alone.
  void keep() { kept_ = true; }

 private:
  std::filesystem::path path_;
  int lock_ = -1;
  bool kept_ = false;
};

/// Removes the temporary files of these targets, all in one folder, whose processes have ended (killed, or the machine went
/// down): no file of their owner in the folder is locked. On file systems that other machines may share, whose locks need
/// not reach this one, nothing is removed.
void remove_abandoned(std::span<const std::filesystem::path> targets);

/// Whether statfs's f_type is a file system of this machine alone.
bool is_local_file_system(long type);

}  // namespace wan
