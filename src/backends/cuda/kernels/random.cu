// Normals as PyTorch's CUDA generator draws them. Source of the order: ATen's native/cuda/DistributionTemplates.h
// (distribution_elementwise_grid_stride_kernel). The numbers are cuRAND's own, so that the bits are too.

#include "backends/cuda/kernels/random.h"

#include <curand_kernel.h>

#include <algorithm>
#include <cstdint>

#include "backends/cuda/kernels/platform.h"
#include "base/error.h"

namespace wan::cuda {

/// In each turn a thread draws four values and writes them one grid apart.
__global__ void normal_kernel(float* out, std::int64_t count, std::uint64_t seed, std::uint64_t calls) {
  const std::int64_t threads = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  const std::int64_t thread = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  curandStatePhilox4_32_10_t state;
  curand_init(seed, static_cast<unsigned long long>(thread), 4 * calls, &state);
  for (std::int64_t first = thread; first < count; first += 4 * threads) {
    const float4 normals = curand_normal4(&state);
    // PyTorch multiplies by the deviation 1 and adds the mean 0, which turns -0 into 0.
    const float values[4] = {normals.x + 0.0f, normals.y + 0.0f, normals.z + 0.0f, normals.w + 0.0f};
#pragma unroll
    for (int i = 0; i < 4; ++i)
      if (first + i * threads < count) out[first + i * threads] = values[i];
  }
}

void launch_normal(cudaStream_t stream, const CudaNormalsArgs& args) {
  constexpr std::int64_t kThreads = 256;  // of a block of PyTorch's random kernels
  const std::int64_t count = args.out.elements();
  if (count == 0) return;
  const std::int64_t resident = args.multiprocessors * (args.threads_per_multiprocessor / kThreads);
  WAN_CHECK(resident > 0, kInvalidArgument, "[random] {} multiprocessors of {} threads hold no block of {}",
            args.multiprocessors, args.threads_per_multiprocessor, kThreads);
  const std::int64_t blocks = std::min(resident, (count + kThreads - 1) / kThreads);
  launch(stream, {dim3(static_cast<unsigned>(blocks)), dim3(kThreads)}, normal_kernel, args.out.as<float>(),
         count, args.seed, args.offset);
}

}  // namespace wan::cuda
