#pragma once
// The class behind make_cpu_backend(); each op's functions are in the file of its name.

#include "backends/cpu/kernels/kernels.h"
#include "backends/cpu/primitive_cache.h"
#include "backends/cpu/short_spins.h"
#include "ops/backend.h"
#include "tensor/allocation_count.h"

namespace wan {

/// Host memory, counted.
class CountedHostMemory final : public Allocator {
 public:
  Device device() const override { return {}; }
  std::byte* allocate(std::size_t bytes) override;
  void release(std::byte* data, std::size_t bytes) noexcept override;
  const AllocationCount& count() const { return count_; }

 private:
  AllocationCount count_;
};

class CpuBackend final : public Backend {
 public:
  explicit CpuBackend(int threads);

  const char* name() const override { return "cpu"; }
  Device device() const override { return {}; }
  Allocator& allocator() override { return memory_; }
  void synchronize() override {}
  void upload(const TensorView& host, const TensorView& device) override;
  void download(const TensorView& device, const TensorView& host) override;
  MemoryUse memory_use() const override { return {memory_.count().now(), memory_.count().peak()}; }
  std::int64_t free_bytes() const override;

  void take_scratch(Workspace&, const AttentionArgs&) override;
  void take_scratch(Workspace&, const Conv3dArgs&) override;
  void take_scratch(Workspace&, const LinearArgs&) override;

  bool supports(const ActivationArgs&) const override;
  void run(ExecContext&, const ActivationArgs&) override;
  bool supports(const AttentionArgs&) const override;
  void run(ExecContext&, const AttentionArgs&) override;
  bool supports(const AverageDownArgs&) const override;
  void run(ExecContext&, const AverageDownArgs&) override;
  bool supports(const ChannelNormArgs&) const override;
  void run(ExecContext&, const ChannelNormArgs&) override;
  bool supports(const Conv3dArgs&) const override;
  void run(ExecContext&, const Conv3dArgs&) override;
  bool supports(const CopyArgs&) const override;
  void run(ExecContext&, const CopyArgs&) override;
  bool supports(const CountNonFiniteArgs&) const override;
  void run(ExecContext&, const CountNonFiniteArgs&) override;
  bool supports(const DuplicateUpArgs&) const override;
  void run(ExecContext&, const DuplicateUpArgs&) override;
  bool supports(const EmbeddingArgs&) const override;
  void run(ExecContext&, const EmbeddingArgs&) override;
  bool supports(const FillZeroArgs&) const override;
  void run(ExecContext&, const FillZeroArgs&) override;
  bool supports(const GatedGeluArgs&) const override;
  void run(ExecContext&, const GatedGeluArgs&) override;
  bool supports(const GatedResidualArgs&) const override;
  void run(ExecContext&, const GatedResidualArgs&) override;
  bool supports(const LayerNormArgs&) const override;
  void run(ExecContext&, const LayerNormArgs&) override;
  bool supports(const LinearArgs&) const override;
  void run(ExecContext&, const LinearArgs&) override;
  bool supports(const LinearCombinationArgs&) const override;
  void run(ExecContext&, const LinearCombinationArgs&) override;
  bool supports(const PatchifyArgs&) const override;
  void run(ExecContext&, const PatchifyArgs&) override;
  bool supports(const UnpatchifyArgs&) const override;
  void run(ExecContext&, const UnpatchifyArgs&) override;
  bool supports(const RmsNormArgs&) const override;
  void run(ExecContext&, const RmsNormArgs&) override;
  bool supports(const RmsNormRopeArgs&) const override;
  void run(ExecContext&, const RmsNormRopeArgs&) override;
  bool supports(const UpsampleArgs&) const override;
  void run(ExecContext&, const UpsampleArgs&) override;

 private:
  CountedHostMemory memory_;
  int threads_;
  const CpuKernels& kernels_;
  PrimitiveCache primitives_;
  std::shared_ptr<ShortSpins> short_spins_;
};

}  // namespace wan
