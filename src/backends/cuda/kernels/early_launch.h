#pragma once
// Kernels of a few microseconds in a chain: each is placed while the one before it ends. tests/cuda_emulation has a file of this name,
// where they run one after another.

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
