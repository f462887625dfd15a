#pragma once
// In place of src/backends/cuda/kernels/platform.h: the kernels as host functions, run by the emulator. The toolkit's own
// headers give the types, so that conversions of bf16 and f16 are those of the device.

#include <cuda_runtime_api.h>
#include <vector_functions.h>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <tuple>

#include "backends/cuda/check.h"
#include "cuda_emulation/emulator.h"
#include "cuda_emulation/fake_runtime.h"

// One block runs at a time, so that its shared arrays may be static.
#undef __shared__
#define __shared__ static
#undef __launch_bounds__
#define __launch_bounds__(...)

// What the compiler provides in a kernel. cuRAND's header declares some of the names on a host, so that it must come first and
// they can only be replaced by macros.
#include <curand_kernel.h>

#define threadIdx ::wan::cuda_emulation::built.thread
#define blockIdx ::wan::cuda_emulation::built.block
#define blockDim ::wan::cuda_emulation::built.block_size
#define gridDim ::wan::cuda_emulation::built.grid_size

inline void __syncthreads() {
  wan::cuda_emulation::block_barrier();
}

inline void __syncwarp(unsigned mask = 0xffffffffu) {
  wan::cuda_emulation::warp_exchange(mask, 0, 0);
}

template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask) {
  static_assert(sizeof(T) == 4);
  const unsigned lane = wan::cuda_emulation::lane();
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return std::bit_cast<T>(
      wan::cuda_emulation::warp_exchange(mask, bits, lane ^ static_cast<unsigned>(lane_mask)));
}

template <typename T>
T __shfl_sync(unsigned mask, T value, int source) {
  static_assert(sizeof(T) == 4);
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return std::bit_cast<T>(wan::cuda_emulation::warp_exchange(mask, bits, static_cast<unsigned>(source) % 32));
}

inline std::uint32_t __float_as_uint(float value) {
  return std::bit_cast<std::uint32_t>(value);
}

inline float __fdividef(float x, float y) {
  return x / y;
}

inline unsigned long long atomicAdd(unsigned long long* to, unsigned long long value) {
  const unsigned long long before = *to;
  *to += value;
  return before;
}

namespace wan::cuda {

template <typename T>
T* dynamic_shared() {
  return reinterpret_cast<T*>(cuda_emulation::dynamic_shared_memory());
}

/// A wide access at an address that is no multiple of its width stops the kernel, as on the device.
inline void check_address(const void* address, std::size_t alignment) {
  if (reinterpret_cast<std::uintptr_t>(address) % alignment != 0) cuda_emulation::stop("misaligned address");
}

struct LaunchShape {
  dim3 grid;
  dim3 block;
  std::size_t shared_bytes = 0;
};

template <typename... Parameters, typename... Args>
void launch(cudaStream_t stream, const LaunchShape& shape, void (*kernel)(Parameters...),
            const Args&... args) {
  if (!cuda_emulation::fake_stream_is_current(stream))
    check(cudaErrorInvalidResourceHandle, "cudaLaunchKernel", __FILE__, __LINE__);
  if (shape.grid.x == 0 || shape.grid.y == 0 || shape.grid.z == 0) return;
  const std::tuple<Parameters...> values(static_cast<Parameters>(args)...);
  cuda_emulation::run_grid({shape.grid, shape.block, shape.shared_bytes},
                           [&] { std::apply(kernel, values); });
}

}  // namespace wan::cuda
