#include "base/memory_info.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <optional>
#include <sstream>
#include <string>

#include "base/cgroup.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

constexpr std::int64_t kUnlimited = std::numeric_limits<std::int64_t>::max();

using Numbers = std::map<std::string, std::int64_t>;

std::optional<std::int64_t> read_number(const fs::path& path) {
  std::ifstream stream(path);
  std::int64_t value = 0;
  return stream >> value ? std::optional(value) : std::nullopt;  // "max" does not parse: no limit
}

/// By name, from lines "name number" or "Name: number kB"; the latter in bytes.
Numbers read_numbers(const fs::path& path) {
  Numbers numbers;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string name;
    std::int64_t value = 0;
    if (!(words >> name >> value)) continue;
    std::string unit;
    words >> unit;
    if (name.ends_with(':')) name.pop_back();
    numbers[name] = unit == "kB" ? value * 1024 : value;
  }
  return numbers;
}

std::int64_t number_of(const Numbers& numbers, const char* name) {
  const auto found = numbers.find(name);
  return found == numbers.end() ? 0 : found->second;
}

/// What the machine has: without swapping, and where the system promises no more memory than there is, also unpromised.
std::int64_t left_of_machine(const fs::path& root) {
  const Numbers numbers = read_numbers(root / "proc/meminfo");
  std::int64_t left = numbers.contains("MemAvailable") ? number_of(numbers, "MemAvailable") : kUnlimited;
  constexpr std::int64_t kNeverOvercommit = 2;
  if (read_number(root / "proc/sys/vm/overcommit_memory") == kNeverOvercommit)
    left = std::min(left, number_of(numbers, "CommitLimit") - number_of(numbers, "Committed_AS"));
  return left;
}

std::int64_t left_of_process(const fs::path& root, const ProcessLimits& limits) {
  const Numbers numbers = read_numbers(root / "proc/self/status");
  return std::min(limits.address_space - number_of(numbers, "VmSize"),
                  limits.data - number_of(numbers, "VmData"));
}

/// From `memory.high` on a group of version 2 is slowed down until it hardly moves, at `memory.max` a process of it is killed.
std::int64_t left_of_group(const ControlGroup& group) {
  const bool first = group.version == 1;
  std::int64_t limit = kUnlimited;
  for (const char* file : {first ? "memory.limit_in_bytes" : "memory.max", "memory.high"})
    limit = std::min(limit, read_number(group.folder / file).value_or(kUnlimited));
  if (limit == kUnlimited) return kUnlimited;
  const std::int64_t used =
      read_number(group.folder / (first ? "memory.usage_in_bytes" : "memory.current")).value_or(0);
  const Numbers numbers = read_numbers(group.folder / "memory.stat");
  std::int64_t reclaimable = 0;
  // The totals of version 1 are those of the groups below too, as `used` is and as version 2 counts anyway.
  for (const char* name :
       {first ? "total_inactive_file" : "inactive_file", first ? "total_active_file" : "active_file"})
    reclaimable += number_of(numbers, name);
  return limit - std::max<std::int64_t>(0, used - reclaimable);
}

/// What this process has in memory; zeros where unknown.
struct ResidentBytes {
  std::int64_t all = 0;
  std::int64_t shared = 0;  // pages of files, and of memory that processes share
};

ResidentBytes resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::int64_t total = 0;
  std::int64_t all = 0;
  std::int64_t shared = 0;
  if (!(statm >> total >> all >> shared)) return {};
  const std::int64_t page = ::sysconf(_SC_PAGESIZE);
  return {all * page, shared * page};
}

}  // namespace

std::int64_t peak_resident_bytes() {
  rusage usage{};
  if (::getrusage(RUSAGE_SELF, &usage) != 0) return 0;
  return static_cast<std::int64_t>(usage.ru_maxrss) * 1024;  // Linux counts KiB
}

std::int64_t program_bytes() {
  static const std::int64_t bytes = resident_bytes().all;
  return bytes;
}

std::int64_t private_bytes() {
  const ResidentBytes resident = resident_bytes();
  return resident.all - resident.shared;
}

ProcessLimits process_limits() {
  const auto soft = [](auto resource) {
    rlimit limit{};
    if (::getrlimit(resource, &limit) != 0 || limit.rlim_cur >= static_cast<rlim_t>(kUnlimited))
      return kUnlimited;
    return static_cast<std::int64_t>(limit.rlim_cur);
  };
  return {.address_space = soft(RLIMIT_AS), .data = soft(RLIMIT_DATA)};
}

std::int64_t machine_memory_bytes(const fs::path& root) {
  return number_of(read_numbers(root / "proc/meminfo"), "MemTotal");
}

std::int64_t available_memory_bytes(const fs::path& root, const ProcessLimits& limits) {
  std::int64_t left = std::min(left_of_machine(root), left_of_process(root, limits));
  for (const ControlGroup& group : control_groups("memory", root))
    left = std::min(left, left_of_group(group));
  return std::max<std::int64_t>(0, left);
}

}  // namespace wan
