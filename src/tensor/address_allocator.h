#pragma once
// AddressAllocator: addresses without memory behind them, for what follows from shapes alone.

#include <atomic>
#include <cstdint>

#include "tensor/allocation_count.h"
#include "tensor/buffer.h"

namespace wan {

/// No processor maps what it gives out: touching it is a crash.
class AddressAllocator final : public Allocator {
 public:
  explicit AddressAllocator(Device device = {}) : device_(device) {}

  Device device() const override { return device_; }
  std::byte* allocate(std::size_t bytes) override;
  void release(std::byte* data, std::size_t bytes) noexcept override {
    if (data != nullptr) count_.remove(bytes);
  }
  AllocationCount& count() { return count_; }
  const AllocationCount& count() const { return count_; }

 private:
  Device device_;
  AllocationCount count_;
  std::atomic<std::uintptr_t> next_{std::uintptr_t{1} << 52};  // beyond what any page table reaches
};

}  // namespace wan
