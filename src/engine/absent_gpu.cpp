#include "engine/absent_gpu.h"

#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/scratch.h"
#include "ops/counting_backend.h"

namespace wan {

namespace {

class AbsentGpu final : public IdleBackend<AbsentGpu> {
 public:
  explicit AbsentGpu(std::int64_t bytes) : bytes_(bytes) {}

  const char* name() const override { return "absent"; }
  Device device() const override { return memory_.device(); }
  Allocator& allocator() override { return memory_; }
  /// The rest is what CUDA takes for itself before anything is allocated.
  std::int64_t free_bytes() const override { return bytes_ - kContext; }
  std::int64_t reserved_bytes() const override { return kLibraries; }
  std::int64_t library_bytes() const override {
    return static_cast<std::int64_t>(cuda::kProductWorkspaceBytes);
  }
  std::int64_t total_bytes() const override { return bytes_; }
  void take_scratch_op(Workspace& workspace, const AttentionArgs& args) {
    cuda::take_scratch(workspace, args, {.hopper = false, .scores = CudaBackendOptions{}.attention_scores});
  }
  void take_scratch_op(Workspace& workspace, const Conv3dArgs& args) { cuda::take_scratch(workspace, args); }
  void take_scratch_op(Workspace& workspace, const LinearArgs& args) { cuda::take_scratch(workspace, args); }
  void take_scratch_op(Workspace& workspace, const LinearGroupArgs& args) {
    cuda::take_scratch(workspace, args);
  }

 private:
  static constexpr std::int64_t kContext = std::int64_t{1} << 29;
  static constexpr std::int64_t kLibraries = std::int64_t{1} << 30;  // as of a real one
  std::int64_t bytes_;
  AddressAllocator memory_{Device{DeviceKind::kCuda, 0}};
};

}  // namespace

std::unique_ptr<Backend> make_absent_gpu(std::int64_t bytes) {
  return std::make_unique<AbsentGpu>(bytes);
}

}  // namespace wan
