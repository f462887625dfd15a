#pragma once
// What kernels and their launchers need from CUDA. tests/cuda_emulation has a file of this name that runs the same kernels
// on the CPU, so a launch is a function call here and never <<<>>>.

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <tuple>

#include "backends/cuda/check.h"

namespace wan::cuda {

/// The block's shared memory whose size the launch states.
template <typename T>
__device__ inline T* dynamic_shared() {
  extern __shared__ __align__(16) unsigned char wan_dynamic_shared[];
  return reinterpret_cast<T*>(wan_dynamic_shared);
}

/// Where a wide access needs an alignment. The device itself stops a kernel that gets it wrong; the emulation checks here.
__device__ inline void check_address(const void*, std::size_t) {}

struct LaunchShape {
  dim3 grid;
  dim3 block;
  std::size_t shared_bytes = 0;
};

/// Enqueues kernel(args...). Throws Device where the launch is refused. A grid without blocks enqueues nothing.
template <typename... Parameters, typename... Args>
void launch(cudaStream_t stream, const LaunchShape& shape, void (*kernel)(Parameters...),
            const Args&... args) {
  if (shape.grid.x == 0 || shape.grid.y == 0 || shape.grid.z == 0) return;
  constexpr std::size_t kGrantedUnasked = 48 * 1024;
  const auto* function = reinterpret_cast<const void*>(kernel);
  if (shape.shared_bytes > kGrantedUnasked)
    WAN_CUDA(cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  static_cast<int>(shape.shared_bytes)));
  std::tuple<Parameters...> values(static_cast<Parameters>(args)...);
  std::apply(
      [&](Parameters&... value) {
        void* pointers[sizeof...(Parameters) + 1] = {static_cast<void*>(&value)...};
        WAN_CUDA(cudaLaunchKernel(function, shape.grid, shape.block, pointers, shape.shared_bytes, stream));
      },
      values);
}

}  // namespace wan::cuda
