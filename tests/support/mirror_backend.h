#pragma once
// MirrorBackend: a device's backend that takes host memory, so that a test written for the CPU runs on the device unchanged.

#include <gtest/gtest.h>

#include <mutex>
#include <vector>

#include "ops/backend.h"
#include "ops/every_op.h"

namespace wan::test {

/// Host memory that views of one call refer to, and its copy on the device, at the same place within 256 bytes and with
/// sentinels on both sides.
class Mirror {
 public:
  explicit Mirror(Backend& backend) : backend_(backend) {}

  /// Notes the memory of a view. Views may overlap.
  void add(const TensorView& view);
  /// Copies everything to the device.
  void upload();
  /// The device's view of memory that was added.
  TensorView on_device(const TensorView& view) const;
  /// Copies everything back, the gaps between a view's elements too; expects the sentinels whole.
  void download();

 private:
  struct Piece {
    std::byte* begin;
    std::byte* end;
    Tensor device;       // bytes, sentinels included
    std::size_t offset;  // of begin in it
  };
  Backend& backend_;
  std::vector<Piece> pieces_;
};

class MirrorBase : public Backend {
 public:
  /// `inner` outlives this.
  explicit MirrorBase(Backend& inner) : inner_(inner), workspace_(inner.allocator()) {}

  const char* name() const override { return inner_.name(); }
  Device device() const override { return {}; }
  Allocator& allocator() override { return cpu_allocator(); }
  void synchronize() override { inner_.synchronize(); }
  void upload(const TensorView& host, const TensorView& device) override;
  void download(const TensorView& device, const TensorView& host) override { upload(device, host); }

  Backend& inner() const { return inner_; }
  /// The device's.
  Workspace& workspace() { return workspace_; }
  static std::mutex& device_mutex() {
    static std::mutex mutex;
    return mutex;
  }

 private:
  Backend& inner_;
  Workspace workspace_;
};

/// Every op is the inner backend's, by way of a Mirror. Made and unmade in its source file, so that who only uses it does not compile
/// what it does with every op.
class MirrorBackend final : public OverEveryOp<MirrorBackend, MirrorBase> {
 public:
  explicit MirrorBackend(Backend& inner);
  ~MirrorBackend() override;

  template <typename Args>
  bool supports_op(const Args& args) const {
    return inner().supports(args);
  }
  template <typename Args>
  void run_op(ExecContext& ctx, const Args& args) {
    // Ranks of a test share the device, whose ops are for one thread.
    const std::scoped_lock lock(device_mutex());
    Mirror mirror(inner());
    Args on_device = args;
    Args::visit_views(on_device, [&](TensorView& view) { mirror.add(view); });
    mirror.upload();
    Args::visit_views(on_device, [&](TensorView& view) { view = mirror.on_device(view); });
    ExecContext inner_ctx{inner(), workspace(), ctx.communicator, {}, ctx.cancelled, ctx.require_fused};
    inner().run(inner_ctx, on_device);
    inner().synchronize();
    mirror.download();
  }
};

}  // namespace wan::test
