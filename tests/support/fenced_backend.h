#pragma once
// FencedBackend: the CPU's kernels on memory that calls itself a device's and that nobody but the backend can touch: a read
// or write of the host faults at once. A model or pipeline that runs on it will run on a GPU.

#include <map>
#include <memory>
#include <mutex>
#include <optional>

#include "ops/backend.h"
#include "ops/every_op.h"
#include "tensor/allocation_count.h"

namespace wan::test {

/// Page-wise memory without any access rights while the fence is closed, and never any to what is not given out. It lies side by side,
/// so that opening the fence is few system calls. Thread-safe.
class FencedMemory final : public Allocator {
 public:
  FencedMemory();
  ~FencedMemory() override;
  Device device() const override { return {DeviceKind::kCuda, 0}; }
  std::byte* allocate(std::size_t bytes) override;
  void release(std::byte* data, std::size_t bytes) noexcept override;
  const AllocationCount& count() const { return count_; }

  /// Access while one of these lives.
  class Opening {
   public:
    explicit Opening(FencedMemory& memory) : memory_(memory) { memory_.open(); }
    ~Opening() { memory_.close(); }
    Opening(const Opening&) = delete;
    Opening& operator=(const Opening&) = delete;

   private:
    FencedMemory& memory_;
  };

 private:
  void open();
  void close();
  void protect(int rights) const;

  AllocationCount count_;
  std::mutex mutex_;
  std::byte* region_;                         // addresses for all blocks
  std::map<std::byte*, std::size_t> blocks_;  // whole pages
  int openings_ = 0;
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
  /// No fence from here on, for what takes long behind one.
  void leave_open() { opening_.emplace(memory_); }
  MemoryUse memory_use() const override { return {memory_.count().now(), memory_.count().peak()}; }

 protected:
  Backend& inner() const { return *inner_; }
  /// The same memory as the host's, for kernels behind the fence.
  static TensorView on_host(const TensorView& view);

  FencedMemory memory_;

 private:
  std::unique_ptr<Backend> inner_;
  std::optional<FencedMemory::Opening> opening_;
};

/// Every op is the inner backend's kernel, or the composite.
class FencedBackend : public OverEveryOp<FencedBackend, FencedBase> {
 public:
  using OverEveryOp::OverEveryOp;

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
    const FencedMemory::Opening opening(memory_);
    if (inner().supports(here)) {
      inner().run(ctx, here);
    } else {
      reference(here);
    }
  }
  template <typename Args>
  void take_scratch_op(Workspace& workspace, const Args& args) {
    inner().take_scratch(workspace, args);
  }
};

}  // namespace wan::test
