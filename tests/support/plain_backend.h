#pragma once
// PlainBackend: host memory and no kernel of its own, so that every op runs its plain composite.

#include <cstring>

#include "base/error.h"
#include "base/memory_info.h"
#include "ops/backend.h"
#include "ops/every_op.h"

namespace wan::test {

class PlainBackend : public OverEveryOp<PlainBackend, Backend> {
 public:
  const char* name() const override { return "plain"; }
  Device device() const override { return {}; }
  Allocator& allocator() override { return cpu_allocator(); }
  void synchronize() override {}
  std::int64_t free_bytes() const override { return available_memory_bytes(); }
  void upload(const TensorView& host, const TensorView& device) override { copy_bytes(host, device); }
  void download(const TensorView& device, const TensorView& host) override { copy_bytes(device, host); }
  template <typename Args>
  bool supports_op(const Args&) const {
    return false;
  }
  template <typename Args>
  void run_op(ExecContext&, const Args&) {
    WAN_ASSERT(false && "the backend supports no op");
  }

 private:
  static void copy_bytes(const TensorView& from, const TensorView& to) {
    WAN_ASSERT(from.is_contiguous() && to.is_contiguous() && from.dtype() == to.dtype() &&
               from.elements() == to.elements());
    if (from.bytes() > 0) std::memcpy(to.data(), from.data(), from.bytes());
  }
};

}  // namespace wan::test
