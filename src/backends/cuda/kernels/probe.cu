#include "backends/cuda/kernels/probe.h"

#include "backends/cuda/kernels/platform.h"

namespace wan::cuda {

namespace {

__global__ void probe_kernel() {}

}  // namespace

cudaError_t probe_kernels() {
  cudaFuncAttributes attributes{};
  return cudaFuncGetAttributes(&attributes, reinterpret_cast<const void*>(&probe_kernel));
}

bool kernels_await() {
  constexpr int kHopper = 9;
  // All kernels are built for the same architectures; code for older ones, compiled anew for this one, has no wait.
  static const bool built = [] {
    cudaFuncAttributes attributes{};
    const void* const kernel = reinterpret_cast<const void*>(&probe_kernel);
    return cudaFuncGetAttributes(&attributes, kernel) == cudaSuccess && attributes.ptxVersion >= 10 * kHopper;
  }();
  if (!built) return false;
  int device = 0;
  int major = 0;
  WAN_CUDA(cudaGetDevice(&device));
  WAN_CUDA(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
  return major >= kHopper;
}

}  // namespace wan::cuda
