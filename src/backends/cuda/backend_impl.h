#pragma once
// The class behind make_cuda_backend(). Each op's function is in the file of its kind, in the namespace of the ops.

#include <optional>

#include "backends/cuda/allocator.h"
#include "backends/cuda/attention_library.h"
#include "backends/cuda/convolution_library.h"
#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/handles.h"
#include "backends/cuda/matmul_library.h"
#include "backends/cuda/scratch.h"
#include "backends/cuda/staging.h"
#include "backends/cuda/wait_times.h"
#include "ops/backend.h"
#include "ops/every_op.h"

namespace wan::cuda {

class CudaBackend final : public OverEveryOp<CudaBackend, Backend>, KernelsOfEveryOp<CudaBackend> {
 public:
  explicit CudaBackend(const CudaBackendOptions& options);
  ~CudaBackend() override;

  const char* name() const override { return "cuda"; }
  Device device() const override { return {DeviceKind::kCuda, options_.device}; }
  Allocator& allocator() override { return allocator_; }
  void synchronize() override;
  void upload(const TensorView& host, const TensorView& device) override;
  void download(const TensorView& device, const TensorView& host) override;
  void upload_from(const UploadSource& source, const TensorView& device) override;
  void upload_beside(const UploadSource& source, const TensorView& device) override;
  std::shared_ptr<const WorkMark> mark_work() noexcept override;
  void wait_for(const WorkMark& mark) override;
  double waited_seconds() override;
  void share_memory_with(const ComputeDevice& reader) override;
  Allocator& transfer_allocator() override { return pinned_; }
  void copy_from(const TensorView& from, const TensorView& to) override;
  void copy_out(const TensorView& from, const TensorView& to) override;
  void copy_beside(const TensorView& from, const TensorView& to) override;
  std::unique_ptr<CopyQueue> make_copy_queue() override;
  bool draw_cuda_normals(const CudaNormalsArgs& args) override;
  DeviceGroupSupport group_support() const override;
  DeviceGroupId make_group_id() override;
  std::unique_ptr<DeviceGroup> join_group(const DeviceGroupId& id, int rank, int size) override;
  MemoryUse memory_use() const override;
  std::int64_t free_bytes() const override;
  std::int64_t reserved_bytes() const override;
  std::int64_t total_bytes() const override { return info_.total_bytes; }

  std::int64_t library_bytes() const override { return static_cast<std::int64_t>(kProductWorkspaceBytes); }

  template <typename Args>
  bool supports_op(const Args&) const {
    return true;
  }
  bool supports_op(const CausalAttentionArgs& args) const;
  bool supports_op(const EmbeddingArgs& args) const;
  template <typename Args>
  void run_op(ExecContext& ctx, const Args& args) {
    const CurrentDevice here(options_.device);
    run_kernel(*this, ctx, args);
  }
  void take_scratch_op(Workspace& workspace, const AttentionArgs& args) {
    cuda::take_scratch(workspace, args,
                       {.hopper = uses_hopper_attention(), .scores = options_.attention_scores});
  }
  void take_scratch_op(Workspace& workspace, const CausalAttentionArgs& args) {
    cuda::take_scratch(workspace, args);
  }
  void take_scratch_op(Workspace& workspace, const Conv3dArgs& args) { cuda::take_scratch(workspace, args); }
  void take_scratch_op(Workspace& workspace, const LinearArgs& args) { cuda::take_scratch(workspace, args); }
  void take_scratch_op(Workspace& workspace, const LinearGroupArgs& args) {
    cuda::take_scratch(workspace, args);
  }

  // For the ops, which find the device current.
  const CudaBackendOptions& options() const { return options_; }
  const CudaDeviceInfo& info() const { return info_; }
  cudaStream_t stream() const { return stream_; }
  MatmulLibrary& products() { return products_; }
  ConvolutionLibrary& convolutions() { return convolutions_; }
  AttentionLibrary& attentions() { return attentions_; }
  bool uses_hopper_attention() const;
  /// Copies between types, unless they are the same memory or empty.
  void convert(const TensorView& from, const TensorView& to);
  /// How many elements of x are not finite. Waits for the device.
  std::int64_t count_non_finite(const TensorView& x);

 private:
  /// Returns when the work that copies_ has by now is done.
  void wait_for_copies();

  // While members take something from the device, or give it back.
  std::optional<CurrentDevice> current_;
  CudaBackendOptions options_;
  CudaDeviceInfo info_;
  Stream stream_;
  WaitTimes waits_;
  StreamAllocator allocator_;
  PinnedAllocator pinned_;
  Staging staging_;
  // For what goes beside the work that is enqueued: this staging does not wait for that work.
  Stream copies_;
  Staging copies_staging_;
  Tuner tuner_{allocator_};
  MatmulLibrary products_;
  ConvolutionLibrary convolutions_;
  AttentionLibrary attentions_;
  Buffer counter_;  // one number of count_non_finite()
  PinnedMemory counted_;
};

}  // namespace wan::cuda
