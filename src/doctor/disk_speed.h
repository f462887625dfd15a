#pragma once
// How fast the disk of a folder reads.

#include <chrono>
#include <filesystem>
#include <optional>

namespace wan {

struct DiskSpeed {
  std::filesystem::path file;  // that was read
  std::int64_t bytes = 0;      // that were
  double bytes_per_second = 0;
  bool cached = false;  // the file system does not read past the page cache: the rate may be the memory's
};

/// Reads the largest file in the folder or the folders in it, on four threads and past the page cache, until so many bytes or so much time
/// is over. Nothing where there is no file to read. Throws BadFile.
std::optional<DiskSpeed> measure_disk(const std::filesystem::path& folder, std::int64_t most = 256 << 20,
                                      std::chrono::milliseconds time = std::chrono::seconds(2));

}  // namespace wan
