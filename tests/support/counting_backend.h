#pragma once
// CountingBackend: a device that computes nothing and holds nothing, for what follows from shapes alone at sizes that no
// test could run: floating-point operations, bytes given out.

#include <sys/mman.h>

#include "base/error.h"
#include "ops/backend.h"
#include "ops/every_op.h"

namespace wan::test {

/// Addresses without memory behind them: touching one is a crash.
class AddressAllocator final : public Allocator {
 public:
  Device device() const override { return {DeviceKind::kCuda, 0}; }
  std::byte* allocate(std::size_t bytes) override {
    if (bytes == 0) return nullptr;
    void* const data = ::mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    WAN_CHECK(data != MAP_FAILED, kOutOfMemory, "no addresses for {} bytes", bytes);
    use.now += static_cast<std::int64_t>(bytes);
    use.peak = std::max(use.peak, use.now);
    return static_cast<std::byte*>(data);
  }
  void release(std::byte* data, std::size_t bytes) noexcept override {
    if (data == nullptr) return;
    use.now -= static_cast<std::int64_t>(bytes);
    ::munmap(data, bytes);
  }

  Backend::MemoryUse use;
};

class CountingBackend final : public OverEveryOp<CountingBackend, Backend> {
 public:
  const char* name() const override { return "counting"; }
  Device device() const override { return allocator_.device(); }
  Allocator& allocator() override { return allocator_; }
  void synchronize() override {}
  void upload(const TensorView&, const TensorView&) override {}
  void download(const TensorView&, const TensorView&) override {}
  MemoryUse memory_use() const override { return allocator_.use; }
  std::int64_t free_bytes() const override { return total_bytes() - allocator_.use.now; }
  std::int64_t total_bytes() const override { return 141'000'000'000; }
  /// Everything is supported and done at once.
  template <typename Args>
  bool supports_op(const Args&) const {
    return true;
  }
  template <typename Args>
  void run_op(ExecContext&, const Args&) {}
  void run_op(ExecContext&, const CountNonFiniteArgs& args) { *args.count = 0; }

 private:
  AddressAllocator allocator_;
};

}  // namespace wan::test
