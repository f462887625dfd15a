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

}  // namespace wan::cuda
