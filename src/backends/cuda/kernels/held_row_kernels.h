#pragma once
// Norms over rows that their threads hold in registers, so that each is read once. For the rows of the models at their real
// widths; row_kernels.h has the same for any row.

#include "backends/cuda/kernels/row_kernels.h"

namespace wan::cuda {

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

template <typename Out, int N>
__global__ void held_layer_norm_kernel(LayerNormRows rows, Out* out, SegmentGroup group) {
  const std::int64_t row = group.first_row + blockIdx.x;
  HeldRow<kHeldThreads, N, kHeldPacks> held(rows.x + row * rows.width, static_cast<int>(threadIdx.x) * N,
                                            static_cast<int>(rows.width));
  const auto width = static_cast<float>(rows.width);
  const float mean = row_sum<kHeldThreads>(held.total()) / width;
  const float variance = row_sum<kHeldThreads>(held.squares(mean)) / width;
  const float inverse = 1.0f / sqrtf(variance + rows.eps);
  const std::int64_t segment = group.segment_of(row);
  held.for_each([&](int c, float(&pack)[N]) {
    normalize_pack<N>(rows, segment, c, mean, inverse, pack);
    store_pack<N>(out + row * rows.width + c, pack);
  });
}

/// Root-mean-square norm and, where there is a table [rows, head / 2, 2], rotation.
template <typename X, typename Out, int N>
__global__ void held_rms_norm_kernel(const X* x, std::int64_t x_stride, Vector weight, float eps,
                                     const float* table, int head, Out* out, std::int64_t out_stride,
                                     int width) {
  const std::int64_t row = blockIdx.x;
  HeldRow<kHeldThreads, N, kHeldPacks> held(x + row * x_stride, static_cast<int>(threadIdx.x) * N, width);
  const float squares = row_sum<kHeldThreads>(held.squares(0.0f));
  const float inverse = 1.0f / sqrtf(squares / static_cast<float>(width) + eps);
  held.for_each([&](int c, float(&pack)[N]) {
    float factors[N];
    weight.load(c, factors);
    if (table != nullptr) {
      float angles[N];
      load_pack<N>(table + row * head + c % head, angles);
      scale_and_turn<N>(inverse, factors, angles, pack);
    } else {
#pragma unroll
      for (int i = 0; i < N; ++i) pack[i] *= inverse * factors[i];
    }
    store_pack<N>(out + row * out_stride + c, pack);
  });
}

/// kThreads lanes a row. Lanes past the last row take part in the sums.
template <typename X, typename Out, int kThreads, int N>
__global__ void held_channel_norm_kernel(const X* x, std::int64_t x_stride, const float* gamma,
                                         ActivationKind kind, Out* out, std::int64_t out_stride,
                                         std::int64_t rows, int width) {
  const RowShare<kThreads, N> share;
  HeldRow<kThreads, N, kPacksOfALane> held(x + share.row * x_stride, static_cast<int>(share.first),
                                           share.row < rows ? width : 0);
  const float squares = lane_sum<kThreads>(held.squares(0.0f));
  const float factor = sqrtf(static_cast<float>(width)) / fmaxf(sqrtf(squares), 1e-12f);
  held.for_each([&](int c, float(&pack)[N]) {
    float gammas[N];
    load_pack<N>(gamma + c, gammas);
#pragma unroll
    for (int i = 0; i < N; ++i) pack[i] = activate(kind, pack[i] * factor * gammas[i]);
    store_pack<N>(out + share.row * out_stride + c, pack);
  });
}

}  // namespace wan::cuda
