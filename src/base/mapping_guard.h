#pragma once
// Reading a mapped file that another program cuts short. The system answers with SIGBUS, which ends the process; under a
// guard the lost part reads as zeros instead, and whoever reads asks afterwards whether any was lost.

#include <cstddef>

namespace wan {

struct GuardedRange;

/// Guards one mapping. Made and destroyed with it; any number of threads may read meanwhile.
class MappingGuard {
 public:
  MappingGuard() = default;
  /// [data, data + size) is mapped from a file for reading, in whole pages. The first guard of a process takes over SIGBUS:
  /// what is not about a guarded mapping is passed on to whoever had it before.
  MappingGuard(const std::byte* data, std::size_t size);
  /// Before the memory is unmapped.
  ~MappingGuard();
  MappingGuard(MappingGuard&& other) noexcept;
  MappingGuard& operator=(MappingGuard&& other) noexcept;
  MappingGuard(const MappingGuard&) = delete;
  MappingGuard& operator=(const MappingGuard&) = delete;

  /// A page could not be read: it and all behind it are zeros now. Asked by a thread that has read, or that has waited for
  /// those that did.
  bool lost() const;

 private:
  GuardedRange* range_ = nullptr;
};

}  // namespace wan
