#pragma once
// What the kernels of the norms over rows share. A row belongs to kThreads threads: a part of a warp, a warp, several rows a block, or a
// whole block. N: elements a thread moves at once. Any row can be read again for each pass, after the first from the cache;
// rows of the models at their real widths are held in registers, so that each is read once.

#include "backends/cuda/kernels/device_math.h"

namespace wan::cuda {

/// Which row this thread works on, and its first element and step there.
template <int kThreads, int N>
struct RowShare {
  std::int64_t row;
  std::int64_t first;
  static constexpr std::int64_t kStep = std::int64_t{kThreads} * N;
  __device__ RowShare()
      : row(static_cast<std::int64_t>(blockIdx.x) * (blockDim.x / kThreads) + threadIdx.x / kThreads),
        first(std::int64_t{threadIdx.x} % kThreads * N) {}
};

/// sum_c (x[c] - centre)^2 over the row.
template <int kThreads, int N, typename X>
__device__ inline float row_squares(const X* x, std::int64_t first, std::int64_t width, float centre) {
  float sum = 0.0f;
  for (std::int64_t c = first; c < width; c += RowShare<kThreads, N>::kStep) {
    float values[N];
    load_pack<N>(x + c, values);
#pragma unroll
    for (int i = 0; i < N; ++i) sum += (values[i] - centre) * (values[i] - centre);
  }
  return row_sum<kThreads>(sum);
}

template <int kThreads, int N, typename X>
__device__ inline float row_total(const X* x, std::int64_t first, std::int64_t width) {
  float sum = 0.0f;
  for (std::int64_t c = first; c < width; c += RowShare<kThreads, N>::kStep) {
    float values[N];
    load_pack<N>(x + c, values);
#pragma unroll
    for (int i = 0; i < N; ++i) sum += values[i];
  }
  return row_sum<kThreads>(sum);
}

/// A wide row is held by a thread block: up to 5120 elements in packs of 8, the width of the 14B models.
inline constexpr int kHeldThreads = 128;
inline constexpr int kHeldPacks = 5;
/// A narrow row, such as a VAE's channels, is held by a part of a warp, which has several.
inline constexpr int kPacksOfALane = 4;

/// A thread's part of a row of up to kThreads * kPacks packs: packs kThreads apart, those past the row left out.
template <int kThreads, int N, int kPacks>
struct HeldRow {
  static constexpr int kStep = kThreads * N;
  int first, end;
  float values[kPacks][N];

  template <typename X>
  __device__ HeldRow(const X* from, int first_column, int width) : first(first_column), end(width) {
#pragma unroll
    for (int j = 0; j < kPacks; ++j)
      if (first + j * kStep < end) load_pack<N>(from + first + j * kStep, values[j]);
  }
  /// visit(column, values) for each pack.
  template <typename Visit>
  __device__ void for_each(Visit&& visit) {
#pragma unroll
    for (int j = 0; j < kPacks; ++j)
      if (first + j * kStep < end) visit(first + j * kStep, values[j]);
  }
  /// This thread's sum of (value - centre)^2.
  __device__ float squares(float centre) {
    float sum = 0.0f;
    for_each([&](int, const float(&pack)[N]) {
#pragma unroll
      for (int i = 0; i < N; ++i) sum += (pack[i] - centre) * (pack[i] - centre);
    });
    return sum;
  }
  __device__ float total() {
    float sum = 0.0f;
    for_each([&](int, const float(&pack)[N]) {
#pragma unroll
      for (int i = 0; i < N; ++i) sum += pack[i];
    });
    return sum;
  }
};

}  // namespace wan::cuda
