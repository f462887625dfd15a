#pragma once
// What the operating system says of this process's and this machine's memory.

#include <cstdint>
#include <filesystem>
#include <limits>

namespace wan {

/// Highest resident set of this process so far, in bytes (0 where unknown).
std::int64_t peak_resident_bytes();

/// Resident set at the first call, the same ever after: what a process took before its work began.
std::int64_t program_bytes();

/// What this process has in memory now that no file and no other process shares: its heap above all. 0 where unknown.
std::int64_t private_bytes();

/// What a process may take at most, in bytes: its resource limits, as `ulimit -v` and `ulimit -d` set them.
struct ProcessLimits {
  std::int64_t address_space = std::numeric_limits<std::int64_t>::max();  // mapped files count
  std::int64_t data = std::numeric_limits<std::int64_t>::max();           // what is written to alone
};
ProcessLimits process_limits();

/// What the machine has, in bytes; 0 where unknown. `root` stands for "/", for tests.
std::int64_t machine_memory_bytes(const std::filesystem::path& root = "/");

/// Memory that this process can take without swapping, in bytes: the least of what the machine has available and of what is left
/// of the process's limits and of those of every control group that it is in. Page cache that a group can give up counts as
/// available, as the machine's does. `root` stands for "/", for tests.
std::int64_t available_memory_bytes(const std::filesystem::path& root = "/",
                                    const ProcessLimits& limits = process_limits());

}  // namespace wan
