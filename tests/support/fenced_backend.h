#pragma once
// FencedBackend: the CPU's kernels on memory that calls itself a device's and that nobody but the backend can touch: a read
// or write of the host faults at once. A model or pipeline that runs on it will run on a GPU.

#include <map>
#include <memory>
#include <mutex>

#include "ops/backend.h"
#include "ops/every_op.h"
#include "tensor/allocation_count.h"

namespace wan::test {

/// Memory at two places: in front of the fence, where nobody has any access, and behind it, where the kernels work. What is not given out
/// cannot be reached at either. Thread-safe.
class FencedMemory final : public Allocator {
 public:
  FencedMemory();
  ~FencedMemory() override;
  Device device() const override { return {DeviceKind::kCuda, 0}; }
  std::byte* allocate(std::size_t bytes) override;
  void release(std::byte* data, std::size_t bytes) noexcept override;
  const AllocationCount& count() const { return count_; }
  /// Where the kernels find these bytes.
  std::byte* behind(std::byte* data) const { return open_ ? data : behind_ + (data - front_); }
  /// No fence, for all that will ever be given out.
  void leave_open();
  bool is_open() const { return open_; }

 private:
  AllocationCount count_;
  std::mutex mutex_;
  std::byte* front_;                          // addresses for all blocks
  std::byte* behind_;                         // others of the same pages
  std::map<std::byte*, std::size_t> blocks_;  // in front, whole pages
  bool open_ = false;
};

class FencedBase : public Backend {
 public:
  explicit FencedBase(std::unique_ptr<Backend> inner) : inner_(std::move(inner)) {}

  const char* name() const override { return "fenced"; }
  Device device() const override { return memory_.device(); }
  Allocator& allocator() override { return memory_; }
  void synchronize() override {}
  std::int64_t free_bytes() const override { return std::int64_t{1} << 32; }
  void upload(const TensorView& host, const TensorView& device) override;
  void download(const TensorView& device, const TensorView& host) override;
  /// No fence from here on, for what is no kernel and works on it.
  void leave_open() { memory_.leave_open(); }
  MemoryUse memory_use() const override { return {memory_.count().now(), memory_.count().peak()}; }

 protected:
  Backend& inner() const { return *inner_; }
  /// The same bytes behind the fence as the host's, for kernels.
  TensorView on_host(const TensorView& view) const;

  FencedMemory memory_;

 private:
  std::unique_ptr<Backend> inner_;
};

/// Every op is the inner backend's kernel, or the composite. Made and unmade in its source file, so that who only uses it does not compile
/// what it does with every op.
class FencedBackend : public OverEveryOp<FencedBackend, FencedBase> {
 public:
  explicit FencedBackend(std::unique_ptr<Backend> inner);
  ~FencedBackend() override;

  template <typename Args>
  bool supports_op(const Args&) const {
    return true;
  }
  template <typename Args>
  void run_op(ExecContext& ctx, const Args& args) {
    Args here = args;
    Args::visit_views(here, [&](TensorView& view) {
      WAN_CHECK(!view || view.device() == device(), kInternal, "[fenced] an op got a view on {}",
                to_string(view.device()));
      view = on_host(view);
    });
    if (!inner().supports(here)) return reference(here);
    if (memory_.is_open()) return inner().run(ctx, here);
    // The workspace is in front of the fence: kernels have scratch of their own, which counts there as what they took.
    Workspace scratch(cpu_allocator());
    ExecContext behind{.backend = inner(),
                       .workspace = scratch,
                       .communicator = ctx.communicator,
                       .cancelled = ctx.cancelled,
                       .require_fused = ctx.require_fused,
                       .unpacked = ctx.unpacked};
    inner().run(behind, here);
    const Workspace::Scope scope(ctx.workspace);
    if (scratch.most() > 0) ctx.workspace.take(DType::kU8, {static_cast<std::int64_t>(scratch.most())});
  }
  template <typename Args>
  void take_scratch_op(Workspace& workspace, const Args& args) {
    inner().take_scratch(workspace, args);
  }
};

}  // namespace wan::test
