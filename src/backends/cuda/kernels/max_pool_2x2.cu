// Halving pictures by the largest of four neighbours.

#include "backends/cuda/kernels/max_pool_2x2.h"

#include <cstdint>

#include "backends/cuda/kernels/device_math.h"
#include "backends/cuda/kernels/launch_types.h"

namespace wan::cuda {

/// The larger of two values, NaN where one of them is.
__device__ inline float larger_value(float a, float b) {
  return a > b || a != a ? a : b;
}

/// A thread a value of the result, `count` in all; `width` and `channels` are the result's.
template <typename T>
__global__ void max_pool_2x2_kernel(const T* x, T* out, std::int64_t count, std::int64_t width,
                                    std::int64_t channels) {
  const std::int64_t thread = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (thread >= count) return;
  const std::int64_t channel = thread % channels;
  const std::int64_t column = thread / channels % width;
  const std::int64_t line = thread / (channels * width);  // of any picture: their heights are even
  const std::int64_t row = 2 * width * channels;
  const T* from = x + 2 * line * row + 2 * column * channels + channel;
  const float upper = larger_value(to_f32(from[0]), to_f32(from[channels]));
  const float lower = larger_value(to_f32(from[row]), to_f32(from[row + channels]));
  out[thread] = from_f32<T>(larger_value(upper, lower));
}

void launch_max_pool_2x2(cudaStream_t stream, const MaxPool2x2Args& args) {
  constexpr int kThreads = 256;
  const std::int64_t count = args.out.elements();
  if (count == 0) return;
  with_activation_type(args.x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(stream, {dim3(blocks_for(count, kThreads)), dim3(kThreads)}, max_pool_2x2_kernel<T>,
           reinterpret_cast<const T*>(args.x.data()), reinterpret_cast<T*>(args.out.data()), count,
           args.out.dim(2), args.out.dim(3));
  });
}

}  // namespace wan::cuda
