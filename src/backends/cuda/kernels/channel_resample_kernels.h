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

/// A thread N channels of a pixel of the fine video; s.count in such packs. Index: 32 bits where the counts allow, because
/// divisions are most of the work.
template <typename T, typename Index, int N>
__global__ void duplicate_up_kernel(const T* in, T* out, ResampleShape s) {
  const std::int64_t thread = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (thread >= s.count) return;
  const auto time = static_cast<Index>(s.time);
  const auto space = static_cast<Index>(s.space);
  const auto group = static_cast<Index>(s.group);
  const auto width = static_cast<Index>(s.width);
  const auto height = static_cast<Index>(s.height);
  const auto packs = static_cast<Index>(s.fine_channels / N);
  const Index pixel = static_cast<Index>(thread) / packs;
  const Index o = (static_cast<Index>(thread) - pixel * packs) * N;
  const Index line = pixel / (width * space);
  const Index column = pixel - line * (width * space);
  const Index picture = line / (height * space);
  const Index row = line - picture * (height * space);
  const Index frame = picture + static_cast<Index>(s.missing);
  const Index place = (frame % time * space + row % space) * space + column % space;
  const std::int64_t coarse =
      static_cast<std::int64_t>(frame / time * height + row / space) * s.width + column / space;
  const T* from = in + coarse * s.coarse_channels;
  Pack<T, N> values;
#pragma unroll
  for (int i = 0; i < N; ++i)
    values.values[i] = from[((o + static_cast<Index>(i)) * time * space * space + place) / group];
  T* to = out + thread * N;
  check_address(to, alignof(Pack<T, N>));
  *reinterpret_cast<Pack<T, N>*>(to) = values;
}

}  // namespace wan::cuda
