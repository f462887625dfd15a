#pragma once
// The class behind make_cpu_backend(); each op's functions are in the file of its name.

#include "backends/cpu/kernels/kernels.h"
#include "backends/cpu/primitive_cache.h"
#include "backends/cpu/short_spins.h"
#include "ops/backend.h"
#include "ops/every_op.h"
#include "tensor/allocation_count.h"

namespace wan {

/// Host memory, counted.
class CountedHostMemory final : public Allocator {
 public:
  Device device() const override { return {}; }
  std::byte* allocate(std::size_t bytes) override;
  void release(std::byte* data, std::size_t bytes) noexcept override;
  void trim() noexcept override;
  const AllocationCount& count() const { return count_; }

 private:
  AllocationCount count_;
};

class CpuBackend final : public OverEveryOp<CpuBackend, Backend>, KernelsOfEveryOp<CpuBackend> {
 public:
  explicit CpuBackend(int threads);

  const char* name() const override { return "cpu"; }
  Device device() const override { return {}; }
  Allocator& allocator() override { return memory_; }
  void synchronize() override {}
  void upload(const TensorView& host, const TensorView& device) override;
  void upload_filled(const std::function<void(const TensorView&)>& fill, const TensorView& device) override {
    fill(device);
  }
  void download(const TensorView& device, const TensorView& host) override;
  MemoryUse memory_use() const override { return {memory_.count().now(), memory_.count().peak()}; }
  std::int64_t free_bytes() const override;

  template <typename Args>
  bool supports_op(const Args& args) const {
    return has_kernel(*this, args);
  }
  template <typename Args>
  void run_op(ExecContext& ctx, const Args& args) {
    run_kernel(*this, ctx, args);
  }
  void take_scratch_op(Workspace& workspace, const AttentionArgs& args);
  void take_scratch_op(Workspace& workspace, const CausalAttentionArgs& args);
  void take_scratch_op(Workspace& workspace, const Conv3dArgs& args);
  void take_scratch_op(Workspace& workspace, const LinearArgs& args);
  void take_scratch_op(Workspace& workspace, const LinearGroupArgs& args);

  // For the ops.
  int threads() const { return threads_; }
  const CpuKernels& kernels() const { return kernels_; }
  PrimitiveCache& primitives() { return primitives_; }

 private:
  CountedHostMemory memory_;
  int threads_;
  const CpuKernels& kernels_;
  PrimitiveCache primitives_;
  std::shared_ptr<ShortSpins> short_spins_;
  std::int64_t private_before_;  // bytes of the process when this was made
};

}  // namespace wan
