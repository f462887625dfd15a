#pragma once
// Element-wise kernels. N: elements a thread moves at once; with 1 any address will do.

#include "backends/cuda/kernels/device_math.h"
#include "backends/cuda/kernels/segments.h"

namespace wan::cuda {

__device__ inline std::int64_t global_thread() {
  return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}

/// This thread's N elements of a flat array; the last thread's may be fewer and no whole pack.
template <int N>
struct Share {
  std::int64_t first;
  std::int64_t count;
  __device__ explicit Share(std::int64_t total) : first(global_thread() * N), count(total - first) {}
  __device__ bool whole() const { return count >= N; }
};

template <typename X, typename Out, int N>
__device__ inline void activate_pack(const X* x, Out* out, ActivationKind kind) {
  float values[N];
  load_pack<N>(x, values);
#pragma unroll
  for (int i = 0; i < N; ++i) values[i] = activate(kind, values[i]);
  store_pack<N>(out, values);
}

template <typename X, typename Out, int N>
__global__ void activation_kernel(const X* x, Out* out, std::int64_t count, ActivationKind kind) {
  const Share<N> share(count);
  if (share.whole()) return activate_pack<X, Out, N>(x + share.first, out + share.first, kind);
  for (std::int64_t i = share.first; i < count; ++i) activate_pack<X, Out, 1>(x + i, out + i, kind);
}

template <typename Out, int N>
__device__ inline void gated_gelu_pack(const Vector& gate, const Vector& x, Out* out, std::int64_t at) {
  float gates[N];
  float values[N];
  gate.load(at, gates);
  x.load(at, values);
#pragma unroll
  for (int i = 0; i < N; ++i) values[i] *= activate(ActivationKind::kGeluTanh, gates[i]);
  store_pack<N>(out + at, values);
}

template <typename Out, int N>
__global__ void gated_gelu_kernel(Vector gate, Vector x, Out* out, std::int64_t count) {
  const Share<N> share(count);
  if (share.whole()) return gated_gelu_pack<Out, N>(gate, x, out, share.first);
  for (std::int64_t i = share.first; i < count; ++i) gated_gelu_pack<Out, 1>(gate, x, out, i);
}

struct Terms {
  static constexpr int kMost = 8;
  const float* x[kMost];
  float coefficients[kMost];
  int count;
};

template <int N>
__device__ inline void combine_pack(const Terms& terms, float* out, std::int64_t at) {
  float sums[N];
  float values[N];
  load_pack<N>(terms.x[0] + at, values);
#pragma unroll
  for (int i = 0; i < N; ++i) sums[i] = terms.coefficients[0] * values[i];
  for (int t = 1; t < terms.count; ++t) {
    load_pack<N>(terms.x[t] + at, values);
#pragma unroll
    for (int i = 0; i < N; ++i) sums[i] += terms.coefficients[t] * values[i];
  }
  store_pack<N>(out + at, sums);
}

template <int N>
__global__ void linear_combination_kernel(Terms terms, float* out, std::int64_t count) {
  const Share<N> share(count);
  if (share.whole()) return combine_pack<N>(terms, out, share.first);
  for (std::int64_t i = share.first; i < count; ++i) combine_pack<1>(terms, out, i);
}

/// A block a row. gate: nullptr for ones.
template <typename X, typename Y, int N>
__global__ void gated_residual_kernel(X* x, const Y* y, const float* gate, std::int64_t gate_stride,
                                      std::int64_t width, SegmentGroup group) {
  const std::int64_t row = group.first_row + blockIdx.x;
  const float* gates = gate != nullptr ? gate + group.segment_of(row) * gate_stride : nullptr;
  for (std::int64_t c = std::int64_t{threadIdx.x} * N; c < width; c += std::int64_t{blockDim.x} * N) {
    float sums[N];
    float branch[N];
    load_pack<N>(x + row * width + c, sums);
    load_pack<N>(y + row * width + c, branch);
    if (gates != nullptr) {
      float factors[N];
      load_pack<N>(gates + c, factors);
#pragma unroll
      for (int i = 0; i < N; ++i) branch[i] *= factors[i];
    }
#pragma unroll
    for (int i = 0; i < N; ++i) sums[i] += branch[i];
    store_pack<N>(x + row * width + c, sums);
  }
}

/// count: packs in all. Index: 32 bits where count allows, for divisions by run-time numbers take long.
template <typename X, typename Out, typename Index, int N>
__global__ void finish_rows_kernel(const X* x, std::int64_t x_stride, Vector bias, ActivationKind kind,
                                   Out* out, std::int64_t out_stride, std::int64_t count,
                                   std::int64_t width) {
  const std::int64_t pack = global_thread();
  if (pack >= count) return;
  const auto packs = static_cast<Index>(width / N);
  const Index row_index = static_cast<Index>(pack) / packs;
  const auto row = static_cast<std::int64_t>(row_index);
  const std::int64_t column = static_cast<std::int64_t>(static_cast<Index>(pack) - row_index * packs) * N;
  float values[N];
  load_pack<N>(x + row * x_stride + column, values);
  if (bias.data != nullptr) {
    float addend[N];
    bias.load(column, addend);
#pragma unroll
    for (int i = 0; i < N; ++i) values[i] += addend[i];
  }
#pragma unroll
  for (int i = 0; i < N; ++i) values[i] = activate(kind, values[i]);
  store_pack<N>(out + row * out_stride + column, values);
}

/// count: packs in all; frame: elements of one; strides are those of frames. Index: as above.
template <typename X, typename Out, typename Index, int N>
__global__ void finish_frames_kernel(const X* x, std::int64_t x_stride, Vector bias, Vector residual,
                                     std::int64_t residual_stride, Out* out, std::int64_t out_stride,
                                     std::int64_t count, std::int64_t frame, std::int64_t channels) {
  const std::int64_t pack = global_thread();
  if (pack >= count) return;
  const auto packs = static_cast<Index>(frame / N);
  const Index frame_index = static_cast<Index>(pack) / packs;
  const Index pack_of_frame = static_cast<Index>(pack) - frame_index * packs;
  const auto t = static_cast<std::int64_t>(frame_index);
  const std::int64_t at = static_cast<std::int64_t>(pack_of_frame) * N;
  float values[N];
  float addend[N];
  load_pack<N>(x + t * x_stride + at, values);
  if (bias.data != nullptr) {
    // Only where packs lie within pixels are there packs at all.
    bias.load(static_cast<std::int64_t>(pack_of_frame % static_cast<Index>(channels / N)) * N, addend);
#pragma unroll
    for (int i = 0; i < N; ++i) values[i] += addend[i];
  }
  if (residual.data != nullptr) {
    residual.load(t * residual_stride + at, addend);
#pragma unroll
    for (int i = 0; i < N; ++i) values[i] += addend[i];
  }
  store_pack<N>(out + t * out_stride + at, values);
}

template <typename X>
__global__ void count_non_finite_kernel(const X* x, std::int64_t count, unsigned long long* total) {
  float found = 0.0f;  // exact up to 2^24, more than a thread sees
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = global_thread(); i < count; i += step) {
    // Exponent bits all ones; a comparison could be folded away by a compiler told that there is no infinity.
    if ((__float_as_uint(to_f32(x[i])) & 0x7f800000u) == 0x7f800000u) found += 1.0f;
  }
  found = warp_sum(found);
  if (threadIdx.x % 32 == 0 && found > 0.0f) atomicAdd(total, static_cast<unsigned long long>(found));
}

}  // namespace wan::cuda
