#pragma once
// Device functions that the kernels share: element conversion, packs of elements, activations, sums over threads.

#include "backends/cuda/kernels/platform.h"
#include "ops/activation.h"

namespace wan::cuda {

using BFloat16 = __nv_bfloat16;
using Half = __half;

__device__ inline float to_f32(float value) {
  return value;
}
__device__ inline float to_f32(BFloat16 value) {
  return __bfloat162float(value);
}
__device__ inline float to_f32(Half value) {
  return __half2float(value);
}

/// Rounds to nearest even.
template <typename T>
__device__ inline T from_f32(float value);
template <>
__device__ inline float from_f32<float>(float value) {
  return value;
}
template <>
__device__ inline BFloat16 from_f32<BFloat16>(float value) {
  return __float2bfloat16_rn(value);
}
template <>
__device__ inline Half from_f32<Half>(float value) {
  return __float2half_rn(value);
}

/// N elements in a row, moved in 16-byte pieces (or one of all their bytes where they are fewer), which their address must
/// be a multiple of.
template <typename T, int N>
struct alignas(N * sizeof(T) < 16 ? N * sizeof(T) : 16) Pack {
  T values[N];
};

/// One or two elements are moved one by one, wherever they lie.
template <int N, typename T>
__device__ inline void load_pack(const T* from, float (&to)[N]) {
  if constexpr (N <= 2) {
#pragma unroll
    for (int i = 0; i < N; ++i) to[i] = to_f32(from[i]);
  } else {
    check_address(from, alignof(Pack<T, N>));
    const Pack<T, N> pack = *reinterpret_cast<const Pack<T, N>*>(from);
#pragma unroll
    for (int i = 0; i < N; ++i) to[i] = to_f32(pack.values[i]);
  }
}

template <int N, typename T>
__device__ inline void store_pack(T* to, const float (&from)[N]) {
  if constexpr (N <= 2) {
#pragma unroll
    for (int i = 0; i < N; ++i) to[i] = from_f32<T>(from[i]);
  } else {
    check_address(to, alignof(Pack<T, N>));
    Pack<T, N> pack;
#pragma unroll
    for (int i = 0; i < N; ++i) pack.values[i] = from_f32<T>(from[i]);
    *reinterpret_cast<Pack<T, N>*>(to) = pack;
  }
}

/// A small read-only vector (a weight, a bias) of either type; the branch is the same for all threads.
struct Vector {
  const void* data = nullptr;  // none: not there
  bool is_bf16 = false;

  template <int N>
  __device__ void load(long long index, float (&to)[N]) const {
    if (is_bf16)
      load_pack<N>(static_cast<const BFloat16*>(data) + index, to);
    else
      load_pack<N>(static_cast<const float*>(data) + index, to);
  }
};

/// The first two as x / (1 + exp(-y)): no cancellation on either side, and neither infinity nor NaN for large |x|. The quotient is
/// within 2 units in the last place, and 0 where the divisor is past 2^126.
__device__ inline float activate(ActivationKind kind, float x) {
  switch (kind) {
    case ActivationKind::kSiLU:
      return __fdividef(x, 1.0f + expf(-x));
    case ActivationKind::kGeluTanh: {
      constexpr float kTwiceRootTwoOverPi = 1.5957691216057308f;
      return __fdividef(x, 1.0f + expf(-kTwiceRootTwoOverPi * (x + 0.044715f * x * x * x)));
    }
    case ActivationKind::kGelu:
      return 0.5f * x * erfcf(-0.70710678f * x);
    case ActivationKind::kLeakyReLU:
      return fmaxf(x, 0.2f * x);
    case ActivationKind::kReLU:
      return x < 0.0f ? 0.0f : x;
    case ActivationKind::kNone:
      break;
  }
  return x;
}

/// Sums and maxima over kLanes neighbouring lanes or a warp; every lane of the warp must call and gets the result.
template <int kLanes>
__device__ inline float lane_sum(float value) {
#pragma unroll
  for (int step = kLanes / 2; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
  return value;
}

__device__ inline float warp_sum(float value) {
  return lane_sum<32>(value);
}

__device__ inline float warp_max(float value) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, step));
  return value;
}

/// Over the kThreads consecutive threads that work on one row, a warp or the whole block: combine(a, b) of what
/// over_warp(value) gives for each warp, in their order. Every thread must call and every thread gets the result.
template <int kThreads, typename OverWarp, typename Combine>
__device__ inline float over_row(float value, OverWarp over_warp, Combine combine) {
  value = over_warp(value);
  if constexpr (kThreads > 32) {
    constexpr int kWarps = kThreads / 32;
    __shared__ float parts[kWarps];
    __syncthreads();  // the result before may still be read
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;
    __syncthreads();
    value = parts[0];
#pragma unroll
    for (int i = 1; i < kWarps; ++i) value = combine(value, parts[i]);
  }
  return value;
}

template <int kThreads>
__device__ inline float row_sum(float value) {
  return over_row<kThreads>(
      value, [](float v) { return warp_sum(v); }, [](float a, float b) { return a + b; });
}

template <int kThreads>
__device__ inline float row_max(float value) {
  return over_row<kThreads>(
      value, [](float v) { return warp_max(v); }, [](float a, float b) { return fmaxf(a, b); });
}

}  // namespace wan::cuda
