#pragma once
// Files out of the page cache, and what of a mapped file is in it.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>

namespace wan::test {

/// Some file systems keep what was written in memory all the same.
inline void drop_from_page_cache(const std::filesystem::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  EXPECT_EQ(::fsync(fd), 0);
  EXPECT_EQ(::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
  ::close(fd);
}

/// Whether the page of a byte of a mapped file is in the page cache. Does not read it.
inline bool in_page_cache(const std::byte* mapped) {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  unsigned char cached = 0;
  EXPECT_EQ(
      ::mincore(reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(mapped) / page * page), 1, &cached),
      0);
  return (cached & 1) != 0;
}

}  // namespace wan::test
