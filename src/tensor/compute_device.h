#pragma once
// ComputeDevice: what holds tensors and computes: its memory, copies to and from the host, the order of its work, its random
// numbers. The ops that run on it are ops/ops.h; a Backend is both.

#include <cstdint>
#include <functional>
#include <memory>

#include "tensor/device_group.h"
#include "tensor/row_copy.h"

namespace wan {

/// A draw of torch.randn(out.elements(), generator = torch.Generator("cuda") of this seed), on a GPU of this size.
struct CudaNormalsArgs {
  std::uint64_t seed = 0;
  int multiprocessors = 0;
  int threads_per_multiprocessor = 0;
  TensorView out;  // contiguous f32 on the device, at most 2^31 - 1 values
  std::uint64_t offset =
      0;  // where in its stream the generator is: cuda_random_calls() of all its earlier draws
};

/// A point in the order of a device's work.
class WorkMark {
 public:
  virtual ~WorkMark() = default;
  /// Returns when the device has done what was enqueued before. From any thread. Throws Device.
  virtual void wait() const = 0;
};

/// An order of copies beside a device's work. One thread at a time.
class CopyQueue {
 public:
  virtual ~CopyQueue() = default;
  /// What is enqueued here from now on begins after the marked work of a device of this kind. Throws Device.
  virtual void wait_for(const WorkMark& mark) = 0;
  /// Enqueues what ComputeDevice::copy_from() or copy_out() does: one of the two is memory of the queue's device.
  virtual void copy(const TensorView& from, const TensorView& to) = 0;
  /// Marks what is enqueued here so far.
  virtual std::shared_ptr<const WorkMark> mark() = 0;
};

class ComputeDevice {
 public:
  virtual ~ComputeDevice() = default;
  virtual const char* name() const = 0;
  virtual Device device() const = 0;
  virtual Allocator& allocator() = 0;
  /// Waits until all enqueued work is done. Throws Device when a kernel failed.
  virtual void synchronize() = 0;
  /// Copy contiguous memory from the host to the device, or back: same dtype, same number of elements. The host memory
  /// may be reused, or is filled, when the call returns.
  virtual void upload(const TensorView& host, const TensorView& device) = 0;
  virtual void download(const TensorView& device, const TensorView& host) = 0;

  /// upload() of what `fill` writes into a contiguous host tensor of the device's dtype and shape; on a host that may be `device`
  /// itself. A device without memory never calls it.
  virtual void upload_filled(const std::function<void(const TensorView& host)>& fill,
                             const TensorView& device) {
    const Tensor host(device.dtype(), device.shape());
    fill(host);
    upload(host, device);
  }
  /// upload() of what `source` writes into the device's own host memory. From any thread, and from several at once where they
  /// name different memory.
  virtual void upload_from(const UploadSource& source, const TensorView& device) {
    const Tensor host(device.dtype(), device.shape());
    source(host.view().data(), 0, host.view().bytes());
    upload(host, device);
  }
  /// upload_from() beside the work that is enqueued, not behind it: into memory that none of that work touches. The device has
  /// the bytes when the call returns.
  virtual void upload_beside(const UploadSource& source, const TensorView& device) {
    upload_from(source, device);
  }
  /// Marks the work that is enqueued so far; null where work is done when a call returns.
  virtual std::shared_ptr<const WorkMark> mark_work() noexcept { return nullptr; }
  /// What is enqueued here from now on begins, on the device, after the marked work of a device of this kind. Throws Device.
  virtual void wait_for(const WorkMark& mark) { mark.wait(); }
  /// Seconds that its work has stood still in all wait_for() that are over; 0 where the host does the waiting. From any thread.
  virtual double waited_seconds() { return 0; }
  /// Lets `reader`, a device of this kind in this process, copy from this one's memory. Throws Unsupported, with the reason.
  virtual void share_memory_with(const ComputeDevice&) {}
  /// Host memory that the device copies from and to in the order of its work, while the host goes on: page-locked where that matters.
  virtual Allocator& transfer_allocator() { return cpu_allocator(); }
  /// Enqueues a copy out of the memory of this device, of one that shares its memory with it, or of a transfer_allocator(), into
  /// this one's. Views as row_copy() takes them.
  virtual void copy_from(const TensorView& from, const TensorView& to) { copy_rows(row_copy(from, to)); }
  /// Enqueues a copy out of this device's memory into that of a transfer_allocator(), likewise.
  virtual void copy_out(const TensorView& from, const TensorView& to) { copy_rows(row_copy(from, to)); }
  /// copy_from() beside the work that is enqueued, not behind it: between memory that none of that work writes, nor reads where this
  /// does. The device has the bytes when the call returns. From any thread.
  virtual void copy_beside(const TensorView& from, const TensorView& to) { copy_from(from, to); }
  /// A new one, which the device outlives; nullptr where work is done when a call returns.
  virtual std::unique_ptr<CopyQueue> make_copy_queue() { return nullptr; }
  /// Fills args.out with the values of PyTorch's CUDA generator, to the bit; false where the device has no such kernel. Grid and
  /// offset: see diffusion/random.h.
  virtual bool draw_cuda_normals(const CudaNormalsArgs&) { return false; }

  /// Exchanges with devices of this kind that other processes have; see DeviceGroup. The id is made by one member and given to all; a
  /// member does not outlive its device. Throw Device, and Unsupported where group_support() says that there is no way.
  virtual DeviceGroupSupport group_support() const { return {}; }
  virtual DeviceGroupId make_group_id() {
    fail(ErrorCode::kUnsupported, "{} is in no groups", MessagePart{name()});
  }
  virtual std::unique_ptr<DeviceGroup> join_group(const DeviceGroupId&, int /*rank*/, int /*size*/) {
    fail(ErrorCode::kUnsupported, "{} is in no groups", MessagePart{name()});
  }

  /// What the allocator has given out, in bytes; 0 where nobody counts.
  struct MemoryUse {
    std::int64_t now = 0;
    std::int64_t peak = 0;
  };
  virtual MemoryUse memory_use() const { return {}; }
  /// Free memory of the device for a plan, in bytes, what the allocator keeps for later counted as free.
  virtual std::int64_t free_bytes() const { return 0; }
  /// What the device's libraries are still expected to take of free_bytes(), beside what the allocator gives out: a plan leaves
  /// it to them.
  virtual std::int64_t reserved_bytes() const { return 0; }
  /// What the device takes of its own allocator's memory for its libraries when ops first run, in bytes.
  virtual std::int64_t library_bytes() const { return 0; }
  /// What the device has in all, in bytes; 0 where its memory is the host's.
  virtual std::int64_t total_bytes() const { return 0; }
};

}  // namespace wan
