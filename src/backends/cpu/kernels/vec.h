#pragma once
// A vector of floats as wide as the instruction set allows, over the compilers' vector extension. Included by
// the kernel sources only; internal linkage throughout.

#if defined(__AVX2__)
#include <immintrin.h>
#endif

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
typedef std::uint32_t VecBits __attribute__((vector_size(WAN_VECTOR_BYTES)));

constexpr int kLanes = WAN_VECTOR_BYTES / 4;

WAN_INLINE Vec load(const float* p) {
  Vec v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
WAN_INLINE void store(float* p, Vec v) {
  std::memcpy(p, &v, sizeof v);
}

/// The first n of kLanes values; the others are 0, or left as they are in memory. Nothing past them is read or written: a load that waits
/// for a store of the row before costs as much as the rest of a short row's work, and so does a copy by way of the stack.
WAN_INLINE Vec load_part(const float* p, std::int64_t n) {
#if WAN_VECTOR_BYTES == 64
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1U << n) - 1), p);
#elif WAN_VECTOR_BYTES == 32
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_maskload_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), lanes));
#else
  Vec v = {};
  std::memcpy(&v, p, static_cast<std::size_t>(n) * sizeof(float));
  return v;
#endif
}
WAN_INLINE void store_part(float* p, Vec v, std::int64_t n) {
#if WAN_VECTOR_BYTES == 64
  typedef float Eight __attribute__((vector_size(32)));
  Eight eight = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7);
  if ((n & 8) != 0) {
    std::memcpy(p, &eight, sizeof eight);
    eight = __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
    p += 8;
  }
#elif WAN_VECTOR_BYTES == 32
  const Vec eight = v;
#endif
#if WAN_VECTOR_BYTES >= 32
  typedef float Four __attribute__((vector_size(16)));
  Four four = __builtin_shufflevector(eight, eight, 0, 1, 2, 3);
  if ((n & 4) != 0) {
    std::memcpy(p, &four, sizeof four);
    four = __builtin_shufflevector(eight, eight, 4, 5, 6, 7);
    p += 4;
  }
#else
  Vec four = v;
#endif
  if ((n & 2) != 0) {
    std::memcpy(p, &four, 2 * sizeof(float));
    four = __builtin_shufflevector(four, four, 2, 3, 2, 3);
    p += 2;
  }
  if ((n & 1) != 0) std::memcpy(p, &four, sizeof(float));
}

/// bf16 values.
WAN_INLINE Vec load_bf16(const std::uint16_t* p) {
  typedef std::uint16_t Bits __attribute__((vector_size(WAN_VECTOR_BYTES / 2)));
  Bits bits;
  std::memcpy(&bits, p, sizeof bits);
  const VecBits wide = __builtin_convertvector(bits, VecBits) << 16;
  Vec v;
  std::memcpy(&v, &wide, sizeof v);
  return v;
}

WAN_INLINE Vec splat(float x) {
  return x - Vec{};
}
WAN_INLINE VecBits as_bits(Vec v) {
  VecBits r;
  std::memcpy(&r, &v, sizeof r);
  return r;
}
WAN_INLINE Vec as_float(VecBits v) {
  Vec r;
  std::memcpy(&r, &v, sizeof r);
  return r;
}
/// b where one of the two is NaN.
WAN_INLINE Vec larger(Vec a, Vec b) {
  return a > b ? a : b;
}
WAN_INLINE Vec smaller(Vec a, Vec b) {
  return a < b ? a : b;
}

/// Sum of the lanes, halving the vector at each step.
WAN_INLINE float sum(Vec v) {
#if WAN_VECTOR_BYTES == 64
  const auto eight = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) +
                     __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
#elif WAN_VECTOR_BYTES == 32
  const auto eight = v;
#endif
#if WAN_VECTOR_BYTES >= 32
  const auto four =
      __builtin_shufflevector(eight, eight, 0, 1, 2, 3) + __builtin_shufflevector(eight, eight, 4, 5, 6, 7);
#else
  const auto four = v;
#endif
  const auto two = four + __builtin_shufflevector(four, four, 2, 3, 0, 1);
  return two[0] + two[1];
}

constexpr float kLowestExponent = -87.33654f;  // exp(x) is a normal number from here
constexpr float kHighestExponent = 88.0f;      // up to here (exp overflows at 88.72)

/// exp(x) within 2 ulp for x in [kLowestExponent, kHighestExponent]; NaN for NaN; wrong elsewhere.
/// x = n ln 2 + r with |r| <= ln 2 / 2, and exp(r) by 1 + r + r^2 q(r), q of degree 4 with the smallest largest
/// relative error, 3.1e-9.
WAN_INLINE Vec exponential_in_range(Vec x) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves an integer in the low mantissa bits
  const Vec shifted = x * 1.44269504f + kRound;
  const Vec n = shifted - kRound;
  Vec r = x - n * 0.693145752f;  // ln 2 in two parts, the first exact in its products with n
  r = r - n * 1.42860677e-6f;
  Vec p = r * 1.381461318e-3f + 8.368709823e-3f;
  p = p * r + 4.166838736e-2f;
  p = p * r + 1.666652069e-1f;
  p = p * r + 4.999999345e-1f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  return as_float(as_bits(p) + (as_bits(shifted) << 23));  // times 2^n: n added to the exponent bits
}

/// exp(x) for x <= kHighestExponent; 0 below kLowestExponent, minus infinity included.
WAN_INLINE Vec exponential(Vec x) {
  const Vec result = exponential_in_range(x);
  return x < kLowestExponent ? Vec{} : result;
}

/// 1 / (1 + exp(-y)), times x.
WAN_INLINE Vec times_sigmoid(Vec x, Vec y) {
  const Vec bounded = larger(splat(kLowestExponent), smaller(splat(kHighestExponent), -y));
  return x / (1.0f + exponential_in_range(bounded));
}

WAN_INLINE Vec silu(Vec x) {
  return times_sigmoid(x, x);
}

/// 0.5 x (1 + tanh u) = x / (1 + exp(-2u)), u = sqrt(2 / pi) (x + 0.044715 x^3).
WAN_INLINE Vec gelu_tanh(Vec x) {
  return times_sigmoid(x, x * (1.59576912f + 0.0713548163f * x * x));
}

/// x Phi(x), by Phi(-a) = exp(-a^2 / 2) R(a) with a = |x|, so that nothing cancels below zero. R(a) = t p(t), t = 1 / (1 + 0.34 a),
/// p of degree 8 with the smallest largest relative error for a to 13.5, 2.7e-8; exp(-a^2 / 2) is 0 from there on.
WAN_INLINE Vec gelu(Vec x) {
  const Vec a = larger(x, -x);
  const Vec t = 1.0f / (1.0f + 0.34f * a);
  Vec p = t * -0.0263695251f + 0.140668735f;
  p = p * t - 0.275455713f;
  p = p * t + 0.204725489f;
  p = p * t - 0.0463903546f;
  p = p * t + 0.116033047f;
  p = p * t + 0.115035556f;
  p = p * t + 0.136133417f;
  p = p * t + 0.135619342f;
  const Vec below = x * (p * t * exponential(-0.5f * a * a));
  return x > 0.0f ? x - below : below;
}

}  // namespace
}  // namespace wan
