#include "doctor/disk_speed.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/files.h"

namespace wan {

namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr std::int64_t kChunk = 4 << 20;
constexpr std::size_t kAlignment = 4096;  // of what is read past the page cache
constexpr int kThreads = 4;

struct LargestFile {
  fs::path path;
  std::int64_t bytes = 0;
};

void look_for_largest(const fs::path& folder, int depth, LargestFile& largest) {
  for (const fs::path& path : list_folder(folder)) {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) continue;
    if (S_ISREG(status.st_mode) && status.st_size > largest.bytes) largest = {path, status.st_size};
    if (S_ISDIR(status.st_mode) && depth > 0) look_for_largest(path, depth - 1, largest);
  }
}

class OpenFile {
 public:
  /// Past the page cache where the file system can; elsewhere what it has of the file is dropped first.
  explicit OpenFile(const fs::path& path)
      : descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT)) {
    if (descriptor_ < 0 && errno == EINVAL) {
      cached_ = true;
      descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
      if (descriptor_ >= 0) ::posix_fadvise(descriptor_, 0, 0, POSIX_FADV_DONTNEED);
    }
    WAN_CHECK(descriptor_ >= 0, kBadFile, "cannot read {}: {}", path.string(), system_reason(errno));
  }
  ~OpenFile() { ::close(descriptor_); }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  int descriptor() const { return descriptor_; }
  bool cached() const { return cached_; }

 private:
  int descriptor_;
  bool cached_ = false;
};

struct FreeMemory {
  void operator()(void* memory) const { std::free(memory); }
};

}  // namespace

std::optional<DiskSpeed> measure_disk(const fs::path& folder, std::int64_t most,
                                      std::chrono::milliseconds time) {
  LargestFile largest;
  constexpr int kDepth = 2;  // google/umt5-xxl is as deep as an official checkpoint goes
  look_for_largest(folder, kDepth, largest);
  if (largest.bytes == 0) return std::nullopt;
  const OpenFile file(largest.path);
  const std::int64_t end = std::min(most, largest.bytes);
  std::atomic<std::int64_t> next{0};
  std::atomic<std::int64_t> bytes{0};
  std::atomic<int> failure{0};
  const Clock::time_point start = Clock::now();
  const auto read_chunks = [&] {
    const std::unique_ptr<void, FreeMemory> buffer(std::aligned_alloc(kAlignment, kChunk));
    if (!buffer) return;
    while (Clock::now() - start < time) {
      const std::int64_t at = next.fetch_add(kChunk);
      if (at >= end) return;
      const ssize_t got = ::pread(file.descriptor(), buffer.get(), kChunk, at);
      if (got < 0) failure = errno;
      if (got <= 0) return;
      bytes += got;
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) threads.emplace_back(read_chunks);
  for (std::thread& thread : threads) thread.join();
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  WAN_CHECK(failure == 0, kBadFile, "cannot read {}: {}", largest.path.string(), system_reason(failure));
  return DiskSpeed{.file = largest.path,
                   .bytes = bytes,
                   .bytes_per_second = static_cast<double>(bytes) / seconds,
                   .cached = file.cached()};
}

}  // namespace wan
