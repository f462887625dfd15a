#pragma once
// Norms over rows. A row belongs to kThreads threads: a warp, several rows a block, or a whole block. N: elements a thread
// moves at once. A row is read again for each pass: after the first, from the cache.

#include "backends/cuda/kernels/device_math.h"
#include "backends/cuda/kernels/segments.h"

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

struct LayerNormRows {
  const float* x;
  const float* factor;  // weight, or scale with its segments; nullptr for ones
  const float* addend;  // bias, or shift; nullptr with factor
  std::int64_t factor_stride;
  std::int64_t addend_stride;
  float one;  // added to factor: 1 for a scale
  float eps;
  std::int64_t width;
};

/// Normalizes and modulates columns [c, c + N) of a row.
template <int N>
__device__ inline void normalize_pack(const LayerNormRows& rows, std::int64_t segment, std::int64_t c,
                                      float mean, float inverse, float (&values)[N]) {
#pragma unroll
  for (int i = 0; i < N; ++i) values[i] = (values[i] - mean) * inverse;
  if (rows.factor == nullptr) return;
  float factors[N];
  float addends[N];
  load_pack<N>(rows.factor + segment * rows.factor_stride + c, factors);
  load_pack<N>(rows.addend + segment * rows.addend_stride + c, addends);
#pragma unroll
  for (int i = 0; i < N; ++i) values[i] = values[i] * (rows.one + factors[i]) + addends[i];
}

template <typename Out, int kThreads, int N>
__global__ void layer_norm_kernel(LayerNormRows rows, Out* out, SegmentGroup group) {
  const RowShare<kThreads, N> share;
  if (share.row >= group.rows) return;  // whole warps
  const std::int64_t row = group.first_row + share.row;
  const float* x = rows.x + row * rows.width;
  const auto width = static_cast<float>(rows.width);
  const float mean = row_total<kThreads, N>(x, share.first, rows.width) / width;
  const float variance = row_squares<kThreads, N>(x, share.first, rows.width, mean) / width;
  const float inverse = 1.0f / sqrtf(variance + rows.eps);
  const std::int64_t segment = group.segment_of(row);
  for (std::int64_t c = share.first; c < rows.width; c += share.kStep) {
    float values[N];
    load_pack<N>(x + c, values);
    normalize_pack<N>(rows, segment, c, mean, inverse, values);
    store_pack<N>(out + row * rows.width + c, values);
  }
}

template <typename X, typename Out, int kThreads, int N>
__global__ void rms_norm_kernel(const X* x, std::int64_t x_stride, Vector weight, float eps, Out* out,
                                std::int64_t out_stride, std::int64_t rows, std::int64_t width) {
  const RowShare<kThreads, N> share;
  if (share.row >= rows) return;
  const X* from = x + share.row * x_stride;
  const float squares = row_squares<kThreads, N>(from, share.first, width, 0.0f);
  const float inverse = 1.0f / sqrtf(squares / static_cast<float>(width) + eps);
  for (std::int64_t c = share.first; c < width; c += share.kStep) {
    float values[N];
    float factors[N];
    load_pack<N>(from + c, values);
    weight.load(c, factors);
#pragma unroll
    for (int i = 0; i < N; ++i) values[i] *= inverse * factors[i];
    store_pack<N>(out + share.row * out_stride + c, values);
  }
}

/// Scales columns and turns each pair of them. angles: cosine and sine of each pair.
template <int N>
__device__ inline void scale_and_turn(float inverse, const float (&factors)[N], const float (&angles)[N],
                                      float (&values)[N]) {
#pragma unroll
  for (int i = 0; i < N; i += 2) {
    const float even = values[i] * inverse * factors[i];
    const float odd = values[i + 1] * inverse * factors[i + 1];
    values[i] = even * angles[i] - odd * angles[i + 1];
    values[i + 1] = even * angles[i + 1] + odd * angles[i];
  }
}

/// N even, so that a pair never leaves its pack. table: [rows, head / 2, 2].
template <typename X, typename Out, int kThreads, int N>
__global__ void rms_norm_rope_kernel(const X* x, std::int64_t x_stride, Vector weight, float eps,
                                     const float* table, Out* out, std::int64_t out_stride, std::int64_t rows,
                                     std::int64_t width, int head) {
  static_assert(N % 2 == 0);
  const RowShare<kThreads, N> share;
  if (share.row >= rows) return;
  const X* from = x + share.row * x_stride;
  const float squares = row_squares<kThreads, N>(from, share.first, width, 0.0f);
  const float inverse = 1.0f / sqrtf(squares / static_cast<float>(width) + eps);
  for (std::int64_t c = share.first; c < width; c += share.kStep) {
    float values[N];
    float factors[N];
    float angles[N];
    load_pack<N>(from + c, values);
    weight.load(c, factors);
    load_pack<N>(table + share.row * head + static_cast<int>(c) % head, angles);
    scale_and_turn<N>(inverse, factors, angles, values);
    store_pack<N>(out + share.row * out_stride + c, values);
  }
}

template <typename X, typename Out, int kThreads, int N>
__global__ void channel_norm_kernel(const X* x, std::int64_t x_stride, const float* gamma,
                                    ActivationKind kind, Out* out, std::int64_t out_stride, std::int64_t rows,
                                    std::int64_t width) {
  const RowShare<kThreads, N> share;
  if (share.row >= rows) return;
  const X* from = x + share.row * x_stride;
  const float squares = row_squares<kThreads, N>(from, share.first, width, 0.0f);
  const float factor = sqrtf(static_cast<float>(width)) / fmaxf(sqrtf(squares), 1e-12f);
  for (std::int64_t c = share.first; c < width; c += share.kStep) {
    float values[N];
    float gammas[N];
    load_pack<N>(from + c, values);
    load_pack<N>(gamma + c, gammas);
#pragma unroll
    for (int i = 0; i < N; ++i) values[i] = activate(kind, values[i] * factor * gammas[i]);
    store_pack<N>(out + share.row * out_stride + c, values);
  }
}

}  // namespace wan::cuda
