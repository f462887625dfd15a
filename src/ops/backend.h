#pragma once
// Backend: what a device must implement. One pair of functions an op: whether its kernel takes these
// arguments, and the kernel. Ops are called through the functions of ops/*.h, which validate first.

#include <cstdint>
#include <functional>

#include "ops/activation.h"
#include "ops/attention.h"
#include "ops/channel_norm.h"
#include "ops/channel_resample.h"
#include "ops/conv3d.h"
#include "ops/copy.h"
#include "ops/embedding.h"
#include "ops/fill_zero.h"
#include "ops/finite.h"
#include "ops/gated_gelu.h"
#include "ops/gated_residual.h"
#include "ops/layer_norm.h"
#include "ops/linear.h"
#include "ops/linear_combination.h"
#include "ops/patchify.h"
#include "ops/rms_norm.h"
#include "ops/rms_norm_rope.h"
#include "ops/upsample.h"

namespace wan {

/// torch.randn(out.elements(), generator = torch.Generator("cuda") of this seed), on a GPU of this size.
struct CudaNormalsArgs {
  std::uint64_t seed = 0;
  int multiprocessors = 0;
  int threads_per_multiprocessor = 0;
  TensorView out;
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual const char* name() const = 0;
  virtual Device device() const = 0;
  virtual Allocator& allocator() = 0;
  /// Waits until all enqueued work is done. Throws Device when a kernel failed.
  virtual void synchronize() = 0;
  /// Copy contiguous memory from the host to the device, or back: same dtype, same number of elements. The host memory
  /// may be reused, or is filled, when the call returns.
  virtual void upload(const TensorView& host, const TensorView& device) = 0;
  virtual void download(const TensorView& device, const TensorView& host) = 0;

  /// upload() of what `source` writes into the backend's own host memory. From any thread, and from several at once where they
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
  /// Marks the work that is enqueued so far. What it returns waits, on any thread, until the device has done it; empty where
  /// work is done when a call returns.
  virtual std::function<void()> mark_work() noexcept { return {}; }
  /// Fills out (contiguous f32 on the device) with the first values of PyTorch's CUDA generator, to the bit; false where the
  /// device has no such kernel. Grid: see diffusion/random.h.
  virtual bool draw_cuda_normals(const CudaNormalsArgs&) { return false; }

  /// What the allocator has given out, in bytes; 0 where nobody counts.
  struct MemoryUse {
    std::int64_t now = 0;
    std::int64_t peak = 0;
  };
  virtual MemoryUse memory_use() const { return {}; }
  /// Free memory of the device for a plan, in bytes.
  virtual std::int64_t free_bytes() const { return 0; }
  /// What the device's libraries are still expected to take of free_bytes(), beside what the allocator gives out: a plan leaves
  /// it to them.
  virtual std::int64_t reserved_bytes() const { return 0; }
  /// What the backend takes of its own allocator's memory for its libraries when ops first run, in bytes.
  virtual std::int64_t library_bytes() const { return 0; }
  /// What the device has in all, in bytes; 0 where its memory is the host's.
  virtual std::int64_t total_bytes() const { return 0; }

  /// Takes from the workspace what run() takes of it for these arguments, which may name no memory, and leaves it alone: an op's
  /// scratch as a memory plan sees it. Ops without one here take nothing or a few rows.
  virtual void take_scratch(Workspace&, const AttentionArgs&) {}
  virtual void take_scratch(Workspace&, const Conv3dArgs&) {}
  virtual void take_scratch(Workspace&, const LinearArgs&) {}

  virtual bool supports(const ActivationArgs&) const = 0;
  virtual void run(ExecContext&, const ActivationArgs&) = 0;
  virtual bool supports(const AttentionArgs&) const = 0;
  virtual void run(ExecContext&, const AttentionArgs&) = 0;
  virtual bool supports(const AverageDownArgs&) const = 0;
  virtual void run(ExecContext&, const AverageDownArgs&) = 0;
  virtual bool supports(const ChannelNormArgs&) const = 0;
  virtual void run(ExecContext&, const ChannelNormArgs&) = 0;
  virtual bool supports(const Conv3dArgs&) const = 0;
  virtual void run(ExecContext&, const Conv3dArgs&) = 0;
  virtual bool supports(const CopyArgs&) const = 0;
  virtual void run(ExecContext&, const CopyArgs&) = 0;
  virtual bool supports(const CountNonFiniteArgs&) const = 0;
  virtual void run(ExecContext&, const CountNonFiniteArgs&) = 0;
  virtual bool supports(const DuplicateUpArgs&) const = 0;
  virtual void run(ExecContext&, const DuplicateUpArgs&) = 0;
  virtual bool supports(const EmbeddingArgs&) const = 0;
  virtual void run(ExecContext&, const EmbeddingArgs&) = 0;
  virtual bool supports(const FillZeroArgs&) const = 0;
  virtual void run(ExecContext&, const FillZeroArgs&) = 0;
  virtual bool supports(const GatedGeluArgs&) const = 0;
  virtual void run(ExecContext&, const GatedGeluArgs&) = 0;
  virtual bool supports(const GatedResidualArgs&) const = 0;
  virtual void run(ExecContext&, const GatedResidualArgs&) = 0;
  virtual bool supports(const LayerNormArgs&) const = 0;
  virtual void run(ExecContext&, const LayerNormArgs&) = 0;
  virtual bool supports(const LinearArgs&) const = 0;
  virtual void run(ExecContext&, const LinearArgs&) = 0;
  virtual bool supports(const LinearCombinationArgs&) const = 0;
  virtual void run(ExecContext&, const LinearCombinationArgs&) = 0;
  virtual bool supports(const PatchifyArgs&) const = 0;
  virtual void run(ExecContext&, const PatchifyArgs&) = 0;
  virtual bool supports(const UnpatchifyArgs&) const = 0;
  virtual void run(ExecContext&, const UnpatchifyArgs&) = 0;
  virtual bool supports(const RmsNormArgs&) const = 0;
  virtual void run(ExecContext&, const RmsNormArgs&) = 0;
  virtual bool supports(const RmsNormRopeArgs&) const = 0;
  virtual void run(ExecContext&, const RmsNormRopeArgs&) = 0;
  virtual bool supports(const UpsampleArgs&) const = 0;
  virtual void run(ExecContext&, const UpsampleArgs&) = 0;
};

}  // namespace wan
