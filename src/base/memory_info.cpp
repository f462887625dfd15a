#include "base/memory_info.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

namespace wan {

namespace {

std::int64_t read_number(const char* path, std::int64_t fallback) {
  std::ifstream stream(path);
  std::int64_t value = 0;
  return stream >> value ? value : fallback;  // "max" does not parse: no limit
}

}  // namespace

std::int64_t peak_resident_bytes() {
  rusage usage{};
  if (::getrusage(RUSAGE_SELF, &usage) != 0) return 0;
  return static_cast<std::int64_t>(usage.ru_maxrss) * 1024;  // Linux counts KiB
}

std::int64_t program_bytes() {
  static const std::int64_t bytes = [] {
    std::ifstream statm("/proc/self/statm");
    std::int64_t total = 0;
    std::int64_t resident = 0;
    return statm >> total >> resident ? resident * ::sysconf(_SC_PAGESIZE) : 0;
  }();
  return bytes;
}

std::int64_t available_memory_bytes() {
  constexpr auto kUnknown = std::numeric_limits<std::int64_t>::max();
  std::int64_t available = kUnknown;
  std::ifstream meminfo("/proc/meminfo");
  std::string key;
  std::int64_t value = 0;
  std::string unit;
  while (meminfo >> key >> value) {
    std::getline(meminfo, unit);
    if (key == "MemAvailable:") available = value * 1024;
  }
  const std::int64_t limit = read_number("/sys/fs/cgroup/memory.max", kUnknown);
  if (limit == kUnknown) return available;
  return std::min(available,
                  std::max<std::int64_t>(0, limit - read_number("/sys/fs/cgroup/memory.current", 0)));
}

}  // namespace wan
