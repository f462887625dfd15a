#pragma once
// What the operating system says of this process's and this machine's memory.

#include <cstdint>

namespace wan {

/// Highest resident set of this process so far, in bytes (0 where unknown).
std::int64_t peak_resident_bytes();

/// Resident set at the first call, the same ever after: what a process took before its work began.
std::int64_t program_bytes();

/// Memory that can be taken without swapping, in bytes (MemAvailable, and the cgroup's limit where lower).
std::int64_t available_memory_bytes();

}  // namespace wan
