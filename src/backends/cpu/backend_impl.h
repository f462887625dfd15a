#pragma once
// The class behind make_cpu_backend(); each op's functions are in the file of its name.

#include "backends/cpu/kernels/kernels.h"
#include "backends/cpu/primitive_cache.h"
#include "backends/cpu/short_spins.h"
#include "ops/backend.h"
#include "ops/every_op.h"

namespace wan {

class CpuBackend final : public OverEveryOp<CpuBackend, Backend>, KernelsOfEveryOp<CpuBackend> {
 public:
  explicit CpuBackend(int threads);

  const char* name() const override { return "cpu"; }
  Device device() const override { return {}; }
  Allocator& allocator() override { return cpu_allocator(); }
  void synchronize() override {}
  void upload(const TensorView& host, const TensorView& device) override;
  void download(const TensorView& device, const TensorView& host) override;

  template <typename Args>
  bool supports_op(const Args& args) const {
    return has_kernel(*this, args);
  }
  template <typename Args>
  void run_op(ExecContext& ctx, const Args& args) {
    run_kernel(*this, ctx, args);
  }

  // For the ops.
  int threads() const { return threads_; }
  const CpuKernels& kernels() const { return kernels_; }
  PrimitiveCache& primitives() { return primitives_; }

 private:
  int threads_;
  const CpuKernels& kernels_;
  PrimitiveCache primitives_;
  std::shared_ptr<ShortSpins> short_spins_;
};

}  // namespace wan
