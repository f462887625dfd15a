#pragma once
// A read-only memory-mapped file: weights stay in the page cache until they are used.
//
// A file that is cut short meanwhile reads as zeros from there on; whoever takes values out of it calls check_whole() before
// they are used.

#include <cstddef>
#include <filesystem>
#include <span>

#include "base/mapping_guard.h"

namespace wan {

class MappedFile {
 public:
  MappedFile() = default;
  /// Maps the whole of `path`. Throws BadFile when it is missing, not a regular file or unreadable, OutOfMemory where the
  /// process may not take so many addresses.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  /// Throws BadFile where the file has become shorter than the mapping, or a part of it could not be read: what was read
  /// until now need not be what it held.
  void check_whole() const;
  const std::filesystem::path& path() const { return path_; }

  /// Asks the kernel to bring the pages of `range`, a part of bytes(), into the page cache and does not wait
  /// until they are there, though perhaps for room in the disk's queue, and each page is looked up even so. A hint: where the
  /// kernel does not take it, a reader waits as it would have.
  void read_ahead(std::span<const std::byte> range) const;
  /// Takes whole pages of `range`, a part of bytes(), out of this process's memory. They stay in the page cache as long as
  /// the machine has room, and come back when they are read again.
  void release_pages(std::span<const std::byte> range) const;

 private:
  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  int fd_ = -1;  // of the file that is mapped, whatever its name means now
  MappingGuard guard_;
};

}  // namespace wan
