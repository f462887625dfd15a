#pragma once
// Positioned writes into an AtomicFile, with the system's reason in every error.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

#include "base/atomic_file.h"

namespace wan {

/// A file under construction: written at any offset, and there under its final name only after commit().
/// Errors are Io and name the target and the reason.
class RawFile {
 public:
  explicit RawFile(const std::filesystem::path& target);
  ~RawFile();
  RawFile(const RawFile&) = delete;
  RawFile& operator=(const RawFile&) = delete;

  /// Writes all of `bytes` at `offset` bytes from the start; the file grows as needed.
  void write_at(std::int64_t offset, std::span<const std::byte> bytes);

  /// Ends writing and frees the file descriptors; the name is still the temporary one. See AtomicFile::unlock() for what
  /// must then be held.
  void close();

  /// Ends writing, where close() has not, and gives the file its final name. `earlier`: see AtomicFile::commit().
  void commit(const std::filesystem::path& earlier = {});

  /// Removes what commit() has written.
  void take_back() { file_.take_back(); }

 private:
  void end_writing();

  AtomicFile file_;
  int fd_ = -1;
};

}  // namespace wan
