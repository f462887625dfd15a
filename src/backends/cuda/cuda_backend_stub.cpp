// Builds without CUDA: no device, and a reason.

#include "backends/cuda/cuda_backend.h"

namespace wan {

namespace {

constexpr const char* kReason =
    "this build has no CUDA: configure with -DWAN_WITH_CUDA=ON, or use `device` cpu";

[[noreturn]] void fail_without_cuda() {
  fail(ErrorCode::kUnsupported, "{}", kReason);
}

}  // namespace

std::string cuda_unusable_reason(int) {
  return kReason;
}

int cuda_device_count() {
  return 0;
}

CudaDeviceInfo cuda_device_info(int) {
  fail_without_cuda();
}

std::optional<double> cuda_utilization(int) {
  return std::nullopt;
}

std::unique_ptr<Backend> make_cuda_backend(const CudaBackendOptions&) {
  fail_without_cuda();
}

}  // namespace wan
