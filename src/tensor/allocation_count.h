#pragma once
// AllocationCount: what an allocator has given out.

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace wan {

/// Thread-safe.
class AllocationCount {
 public:
  void add(std::size_t bytes) {
    const std::int64_t now = now_.fetch_add(signed_of(bytes)) + signed_of(bytes);
    std::int64_t before = peak_.load();
    while (before < now && !peak_.compare_exchange_weak(before, now)) {
    }
  }
  void remove(std::size_t bytes) { now_.fetch_sub(signed_of(bytes)); }

  /// Bytes given out, and the most that were at once since the last reset_peak().
  std::int64_t now() const { return now_.load(); }
  std::int64_t peak() const { return peak_.load(); }
  void reset_peak() { peak_.store(now()); }

 private:
  static std::int64_t signed_of(std::size_t bytes) { return static_cast<std::int64_t>(bytes); }

  std::atomic<std::int64_t> now_{0};
  std::atomic<std::int64_t> peak_{0};
};

}  // namespace wan
