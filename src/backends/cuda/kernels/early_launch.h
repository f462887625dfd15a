#pragma once
// Kernels of a few microseconds in a chain: each is placed while the one before it ends, and may ask for what no kernel writes
// (weights) before it waits. tests/cuda_emulation has a file of this name, where kernels run one after another.

#include "backends/cuda/kernels/platform.h"
#include "backends/cuda/kernels/probe.h"

namespace wan::cuda {

/// In a kernel of launch_early(), before it reads or writes what other kernels do: waits for all that was enqueued before it, and lets
/// the next such kernel be placed.
__device__ inline void await_previous() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  cudaTriggerProgrammaticLaunchCompletion();
  cudaGridDependencySynchronize();
#endif
}

/// Brings the address's line into the GPU's cache, where everyone sees what is written to it: may stand before await_previous().
__device__ inline void prefetch(const void* address) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(address));
}

/// launch() of a kernel that calls await_previous() in every thread that touches memory.
template <typename... Parameters, typename... Args>
void launch_early(cudaStream_t stream, const LaunchShape& shape, void (*kernel)(Parameters...),
                  const Args&... args) {
  if (!kernels_await()) return launch(stream, shape, kernel, args...);
  if (shape.grid.x == 0 || shape.grid.y == 0 || shape.grid.z == 0) return;
  cudaLaunchAttribute early{};
  early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  early.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = shape.grid;
  config.blockDim = shape.block;
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = stream;
  config.attrs = &early;
  config.numAttrs = 1;
  WAN_CUDA(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(args)...));
}

}  // namespace wan::cuda
