#pragma once
// A vector of floats as wide as the instruction set allows, over the compilers' vector extension. Included by
// the kernel sources only; internal linkage throughout.

#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
#define WAN_VECTOR_BYTES 64
#elif defined(__AVX2__)
#define WAN_VECTOR_BYTES 32
#else
#define WAN_VECTOR_BYTES 16
#endif

#define WAN_INLINE inline __attribute__((always_inline))

namespace wan {
namespace {

typedef float Vec __attribute__((vector_size(WAN_VECTOR_BYTES)));
typedef std::int32_t VecInt __attribute__((vector_size(WAN_VECTOR_BYTES)));

constexpr int kLanes = WAN_VECTOR_BYTES / 4;

WAN_INLINE Vec load(const float* p) {
  Vec v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
WAN_INLINE void store(float* p, Vec v) {
  std::memcpy(p, &v, sizeof v);
}

/// The first n of kLanes values; the others are 0, or left as they are in memory.
WAN_INLINE Vec load_part(const float* p, std::int64_t n) {
  Vec v = {};
  std::memcpy(&v, p, static_cast<std::size_t>(n) * sizeof(float));
  return v;
}
WAN_INLINE void store_part(float* p, Vec v, std::int64_t n) {
  std::memcpy(p, &v, static_cast<std::size_t>(n) * sizeof(float));
}

WAN_INLINE Vec splat(float x) {
  return x - Vec{};
}
WAN_INLINE VecInt as_int(Vec v) {
  VecInt r;
  std::memcpy(&r, &v, sizeof r);
  return r;
}
WAN_INLINE Vec as_float(VecInt v) {
  Vec r;
  std::memcpy(&r, &v, sizeof r);
  return r;
}
/// b where a comparison with NaN is involved.
WAN_INLINE Vec larger(Vec a, Vec b) {
  return a > b ? a : b;
}

WAN_INLINE float sum(Vec v) {
  float lanes[kLanes];
  std::memcpy(lanes, &v, sizeof v);
  for (int step = kLanes / 2; step > 0; step /= 2)
    for (int i = 0; i < step; ++i) lanes[i] += lanes[i + step];
  return lanes[0];
}

/// exp(x) within 2 ulp over the normal range; 0 below -87.33, the largest finite values from 88.72 on; NaN for
/// NaN. x = n ln 2 + r with |r| <= ln 2 / 2; exp(r) by its minimax polynomial of degree 6.
WAN_INLINE Vec exponential(Vec x) {
  constexpr float kLowest = -87.33654f;
  constexpr float kHighest = 88.72283f;
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves an integer in the low mantissa bits
  const Vec bounded = x > kHighest ? splat(kHighest) : x;
  const Vec shifted = bounded * 1.44269504f + kRound;
  const Vec n = shifted - kRound;
  Vec r = bounded - n * 0.693145752f;  // ln 2 in two parts, the first exact in its products with n
  r = r - n * 1.42860677e-6f;
  Vec p = r * 1.38888889e-3f + 8.33333333e-3f;
  p = p * r + 4.16666667e-2f;
  p = p * r + 1.66666667e-1f;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  // 2^n in two factors, so that n = 128 does not overflow on the way.
  const VecInt exponent = as_int(shifted) - as_int(splat(kRound));
  const VecInt half = exponent >> 1;
  const Vec result = p * as_float((half + 127) << 23) * as_float((exponent - half + 127) << 23);
  return x < kLowest ? Vec{} : result;
}

/// exponential(x) for x <= 0 or NaN, as in a softmax: cheaper without the upper half of the range.
WAN_INLINE Vec exponential_of_negative(Vec x) {
  constexpr float kLowest = -87.33654f;
  constexpr float kRound = 12582912.0f;
  const Vec shifted = x * 1.44269504f + kRound;
  const Vec n = shifted - kRound;
  Vec r = x - n * 0.693145752f;
  r = r - n * 1.42860677e-6f;
  Vec p = r * 1.38888889e-3f + 8.33333333e-3f;
  p = p * r + 4.16666667e-2f;
  p = p * r + 1.66666667e-1f;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  // 2^n times p, n >= -126: an addition to p's exponent bits.
  const Vec result = as_float(as_int(p) + (as_int(shifted) << 23));
  return x < kLowest ? Vec{} : result;
}

WAN_INLINE Vec silu(Vec x) {
  return x / (1.0f + exponential(-x));
}

/// 0.5 x (1 + tanh u) = x / (1 + exp(-2u)), u = sqrt(2 / pi) (x + 0.044715 x^3).
WAN_INLINE Vec gelu_tanh(Vec x) {
  const Vec u2 = x * (1.59576912f + 0.0713548163f * x * x);
  return x / (1.0f + exponential(-u2));
}

}  // namespace
}  // namespace wan
