#pragma once
// CountingBackend: a device that computes nothing and holds nothing, for what follows from shapes alone at sizes that no
// machine need have: bytes given out, floating-point operations.

#include <functional>
#include <vector>

#include "ops/backend.h"
#include "ops/every_op.h"
#include "ops/exec_context.h"
#include "tensor/address_allocator.h"

namespace wan {

/// Everything is supported and done at once, and no bytes are moved.
template <typename Derived>
class IdleBackend : public OverEveryOp<Derived, Backend> {
 public:
  void synchronize() override {}
  void upload(const TensorView&, const TensorView&) override {}
  void upload_filled(const std::function<void(const TensorView&)>&, const TensorView&) override {}
  void upload_from(const UploadSource&, const TensorView&) override {}
  void download(const TensorView&, const TensorView&) override {}
  void copy_from(const TensorView&, const TensorView&) override {}
  void copy_out(const TensorView&, const TensorView&) override {}
  template <typename Args>
  bool supports_op(const Args&) const {
    return true;
  }
  template <typename Args>
  void run_op(ExecContext&, const Args&) {}
};

class CountingBackend final : public IdleBackend<CountingBackend> {
 public:
  /// Stands for a device of so many bytes.
  explicit CountingBackend(Device device, std::int64_t total_bytes = 0)
      : total_bytes_(total_bytes), allocator_(device) {}
  /// Stands for `real`, which outlives this: ops take from the workspace what the real ones would. nullptr: for a host whose
  /// ops take nothing.
  explicit CountingBackend(Backend* real)
      : real_(real), allocator_(real != nullptr ? real->device() : Device{}) {}

  const char* name() const override { return "counting"; }
  Device device() const override { return allocator_.device(); }
  Allocator& allocator() override { return allocator_; }
  MemoryUse memory_use() const override { return {allocator_.count().now(), allocator_.count().peak()}; }
  std::int64_t free_bytes() const override { return total_bytes_ - allocator_.count().now(); }
  std::int64_t total_bytes() const override { return total_bytes_; }

  /// The most bytes that were given out at once since the last call.
  std::int64_t take_peak() {
    const std::int64_t peak = allocator_.count().peak();
    allocator_.count().reset_peak();
    return peak;
  }

  template <typename Args>
  void run_op(ExecContext& ctx, const Args& args) {
    if (real_ == nullptr) return;
    const Workspace::Scope scope(ctx.workspace);
    real_->take_scratch(ctx.workspace, args);
  }
  void run_op(ExecContext&, const CountNonFiniteArgs& args) { *args.count = 0; }

 private:
  Backend* real_ = nullptr;
  std::int64_t total_bytes_ = 0;
  AddressAllocator allocator_;
};

/// The first of so many ranks, whose share is the largest; nothing is exchanged.
class IdleCommunicator final : public Communicator {
 public:
  /// `packs`: where exchanges need contiguous memory for views that are not, as a DeviceGroup's do, its; otherwise nullptr.
  explicit IdleCommunicator(int size, Allocator* packs = nullptr) : size_(size), packs_(packs) {}
  int rank() const override { return 0; }
  int size() const override { return size_; }
  void all_to_all(std::span<const TensorView> send, std::span<const TensorView> recv) override {
    begin_all_to_all(send, recv)->finish();
  }
  std::unique_ptr<PendingExchange> begin_all_to_all(std::span<const TensorView> send,
                                                    std::span<const TensorView> recv) override {
    auto pending = std::make_unique<Packs>();
    if (packs_ == nullptr) return pending;
    for (const auto& views : {send, recv})
      for (const TensorView& view : views.subspan(1))  // the first is this rank's own
        if (!view.is_contiguous()) pending->packed.emplace_back(*packs_, view.dtype(), view.shape());
    return pending;
  }
  /// Where views are packed, the one with which most of them are.
  ExchangeSpeed exchange_speed() const override {
    return packs_ != nullptr ? ExchangeSpeed::kThroughHost : ExchangeSpeed::kAtOnce;
  }
  void all_gather(const TensorView&, std::span<const TensorView>) override {}
  void broadcast(const TensorView&, int) override {}
  void barrier() override {}
  void abort(const Error&) noexcept override {}

 private:
  struct Packs final : PendingExchange {
    void finish() override { packed.clear(); }
    std::vector<Tensor> packed;
  };

  int size_;
  Allocator* packs_;
};

/// A pass that runs here takes the memory that the real one takes.
struct Rehearsal {
  /// As on `real`; nullptr: on a host whose ops take nothing.
  /// `packs`: exchanges take memory for views that are not contiguous.
  explicit Rehearsal(Backend* real, int ranks = 1, bool packs = false)
      : backend(real), communicator(ranks, packs ? &backend.allocator() : nullptr) {}
  /// As on such a device, whose ops take nothing.
  explicit Rehearsal(Device device) : backend(device) {}
  Rehearsal(const Rehearsal&) = delete;
  Rehearsal& operator=(const Rehearsal&) = delete;

  CountingBackend backend;
  Workspace workspace{backend.allocator()};
  IdleCommunicator communicator{1};
  ExecContext ctx{.backend = backend, .workspace = workspace, .communicator = communicator};
};

}  // namespace wan
