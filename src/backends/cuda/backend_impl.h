#pragma once
// The class behind make_cuda_backend(). Each op's functions are in the file of its kind.

#include "backends/cuda/allocator.h"
#include "backends/cuda/attention_library.h"
#include "backends/cuda/convolution_library.h"
#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/handles.h"
#include "backends/cuda/matmul_library.h"
#include "backends/cuda/scratch.h"
#include "backends/cuda/staging.h"
#include "ops/backend.h"

namespace wan::cuda {

class CudaBackend final : public Backend {
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
  std::function<void()> mark_work() noexcept override;
  bool draw_cuda_normals(const CudaNormalsArgs& args) override;
  MemoryUse memory_use() const override;
  std::int64_t free_bytes() const override;
  std::int64_t reserved_bytes() const override;
  std::int64_t total_bytes() const override { return info_.total_bytes; }

  std::int64_t library_bytes() const override { return static_cast<std::int64_t>(kProductWorkspaceBytes); }
  void take_scratch(Workspace&, const AttentionArgs&) override;
  void take_scratch(Workspace&, const Conv3dArgs&) override;
  void take_scratch(Workspace&, const LinearArgs&) override;

  bool supports(const ActivationArgs&) const override { return true; }
  void run(ExecContext&, const ActivationArgs&) override;
  bool supports(const AttentionArgs&) const override { return true; }
  void run(ExecContext&, const AttentionArgs&) override;
  bool supports(const AverageDownArgs&) const override { return true; }
  void run(ExecContext&, const AverageDownArgs&) override;
  bool supports(const ChannelNormArgs&) const override { return true; }
  void run(ExecContext&, const ChannelNormArgs&) override;
  bool supports(const Conv3dArgs&) const override { return true; }
  void run(ExecContext&, const Conv3dArgs&) override;
  bool supports(const CopyArgs&) const override { return true; }
  void run(ExecContext&, const CopyArgs&) override;
  bool supports(const CountNonFiniteArgs&) const override { return true; }
  void run(ExecContext&, const CountNonFiniteArgs&) override;
  bool supports(const DuplicateUpArgs&) const override { return true; }
  void run(ExecContext&, const DuplicateUpArgs&) override;
  bool supports(const EmbeddingArgs&) const override;
  void run(ExecContext&, const EmbeddingArgs&) override;
  bool supports(const FillZeroArgs&) const override { return true; }
  void run(ExecContext&, const FillZeroArgs&) override;
  bool supports(const GatedGeluArgs&) const override { return true; }
  void run(ExecContext&, const GatedGeluArgs&) override;
  bool supports(const GatedResidualArgs&) const override { return true; }
  void run(ExecContext&, const GatedResidualArgs&) override;
  bool supports(const LayerNormArgs&) const override { return true; }
  void run(ExecContext&, const LayerNormArgs&) override;
  bool supports(const LinearArgs&) const override { return true; }
  void run(ExecContext&, const LinearArgs&) override;
  bool supports(const LinearCombinationArgs&) const override { return true; }
  void run(ExecContext&, const LinearCombinationArgs&) override;
  bool supports(const PatchifyArgs&) const override { return true; }
  void run(ExecContext&, const PatchifyArgs&) override;
  bool supports(const UnpatchifyArgs&) const override { return true; }
  void run(ExecContext&, const UnpatchifyArgs&) override;
  bool supports(const RmsNormArgs&) const override { return true; }
  void run(ExecContext&, const RmsNormArgs&) override;
  bool supports(const RmsNormRopeArgs&) const override { return true; }
  void run(ExecContext&, const RmsNormRopeArgs&) override;
  bool supports(const UpsampleArgs&) const override { return true; }
  void run(ExecContext&, const UpsampleArgs&) override;

  void normal(const CudaNormalArgs& args, std::uint64_t& calls);

 private:
  /// The stream to launch on, its device made current. Throws Internal, naming op, where a view is not on the device.
  cudaStream_t stream_for(const char* op, std::initializer_list<TensorView> views);
  /// Copies between types, unless they are the same memory or empty.
  void convert(const TensorView& from, const TensorView& to);
  bool uses_hopper_attention() const;
  /// Scores by a product, their softmax, and a product with the values, some rows at a time. q, k and v of one dtype. False
  /// where the library has no algorithm for one of the products; some of `out` may be written then.
  bool attention_by_products(Workspace& workspace, const AttentionArgs& args);
  /// Fills Conv3dScratch::product's x: x with zero rows and columns round each frame and zero channels after its own.
  void pad(const TensorView& x, const SpatialPadding& edges, const TensorView& padded);
  /// Likewise weight [O, kt, kh, kw, I], with zeros to so many outputs and inputs.
  void pad_weight(const TensorView& weight, const TensorView& padded);

  /// Makes the device current before the members after it take anything from it.
  struct CurrentDevice {
    explicit CurrentDevice(int device) { WAN_CUDA(cudaSetDevice(device)); }
  };

  CudaBackendOptions options_;
  CudaDeviceInfo info_;
  CurrentDevice current_;
  std::int64_t free_at_start_ = free_bytes();
  Stream stream_;
  StreamAllocator allocator_;
  Staging staging_;
  // Of upload_beside(), whose staging does not wait for the work that is enqueued.
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
