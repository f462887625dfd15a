#pragma once
// Kernels of the shortcuts of VAE 2.2: channels for space and time, without weights.

#include <cstdint>

#include "backends/cuda/kernels/device_math.h"

namespace wan::cuda {

/// A coarse video [frames, height, width, channels] beside the finer one, whose frames, rows and columns are these times
/// the factors.
struct ResampleShape {
  std::int64_t frames, height, width;  // of the coarse video
  std::int64_t coarse_channels, fine_channels;
  std::int64_t time, space;  // factors
  std::int64_t group;        // values that are averaged, or copies of one
  std::int64_t missing;      // fine frames before the first that are not there
  std::int64_t count;        // elements of the result
};

/// Offset of value k of a cell, in the order (channel, frame, row, column), in the fine video; -1 where its frame is missing.
__device__ inline std::int64_t fine_offset(const ResampleShape& s, std::int64_t t, std::int64_t y,
                                           std::int64_t x, std::int64_t k) {
  const std::int64_t d = k % s.space;
  const std::int64_t b = k / s.space % s.space;
  const std::int64_t a = k / (s.space * s.space) % s.time;
  const std::int64_t c = k / (s.space * s.space * s.time);
  const std::int64_t frame = t * s.time + a - s.missing;
  if (frame < 0) return -1;
  const std::int64_t row = frame * s.height * s.space + y * s.space + b;
  return (row * s.width * s.space + x * s.space + d) * s.fine_channels + c;
}

/// A thread an element of the coarse video.
template <typename In, typename Out>
__global__ void average_down_kernel(const In* in, Out* out, ResampleShape s) {
  const std::int64_t thread = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (thread >= s.count) return;
  const std::int64_t o = thread % s.coarse_channels;
  const std::int64_t x = thread / s.coarse_channels % s.width;
  const std::int64_t y = thread / (s.coarse_channels * s.width) % s.height;
  const std::int64_t t = thread / (s.coarse_channels * s.width * s.height);
  float sum = 0.0f;
  for (std::int64_t k = o * s.group; k < (o + 1) * s.group; ++k) {
    const std::int64_t at = fine_offset(s, t, y, x, k);
    if (at >= 0) sum += to_f32(in[at]);
  }
  out[thread] = from_f32<Out>(sum / static_cast<float>(s.group));
}

/// A thread an element of the fine video.
template <typename T>
__global__ void duplicate_up_kernel(const T* in, T* out, ResampleShape s) {
  const std::int64_t thread = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (thread >= s.count) return;
  const std::int64_t o = thread % s.fine_channels;
  const std::int64_t column = thread / s.fine_channels % (s.width * s.space);
  const std::int64_t row = thread / (s.fine_channels * s.width * s.space) % (s.height * s.space);
  const std::int64_t frame = thread / (s.fine_channels * s.width * s.space * s.height * s.space) + s.missing;
  const std::int64_t k =
      ((o * s.time + frame % s.time) * s.space + row % s.space) * s.space + column % s.space;
  const std::int64_t pixel = (frame / s.time * s.height + row / s.space) * s.width + column / s.space;
  out[thread] = in[pixel * s.coarse_channels + k / s.group];
}

}  // namespace wan::cuda
