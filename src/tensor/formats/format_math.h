#pragma once
// What the formats of packed weights are written with. They are compiled for the host, for each of its instruction sets and for the
// device: nothing here has an address, so that no copy for one processor stands in for another's.

#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#include <cuda_fp16.h>
#include <cuda_fp8.h>
#define WAN_FORMAT __host__ __device__ __forceinline__
#else
#define WAN_FORMAT inline __attribute__((always_inline))
#endif

namespace wan::formats {

/// A format takes at least so many values of a row at a time: their scale is one.
constexpr int kRunValues = 16;

WAN_FORMAT float bits_as_float(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

/// A little-endian number: on the host at any address, on a GPU at a multiple of kAlign.
template <typename T, int kAlign>
WAN_FORMAT T load(const std::uint8_t* p) {
#if defined(__CUDA_ARCH__)
  p = static_cast<const std::uint8_t*>(__builtin_assume_aligned(p, kAlign));
#endif
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

/// The value of an IEEE half.
WAN_FORMAT float half_value(std::uint32_t half) {
#if defined(__CUDA_ARCH__)
  return __half2float(__ushort_as_half(static_cast<unsigned short>(half)));
#else
  const std::uint32_t sign = (half & 0x8000u) << 16;
  const std::uint32_t magnitude = (half & 0x7fffu) << 13;
  const std::uint32_t normal = magnitude + (112u << 23);
  std::uint32_t subnormal;
  const float shifted = bits_as_float(magnitude + (113u << 23)) - 0x1p-14f;
  std::memcpy(&subnormal, &shifted, sizeof subnormal);
  const std::uint32_t finite = magnitude < (1u << 23) ? subnormal : normal;
  return bits_as_float(sign | (magnitude < (31u << 23) ? finite : magnitude | 0x7f800000u));
#endif
}

WAN_FORMAT float load_half(const std::uint8_t* p) {
  return half_value(load<std::uint16_t, 2>(p));
}

// What stands in a run's bytes: integer i is a part of byte i. Formats take them through one of these, as who reads likes it.

/// Out of memory, when they are asked for.
struct InMemory {
  const std::uint8_t* bytes;
  int shift;
  int mask;
  WAN_FORMAT int operator()(int i) const { return (bytes[i] >> shift) & mask; }
};

/// Eight, loaded at once from a multiple of kAlign: in each word four.
template <int kAlign>
struct InRegisters {
  std::uint32_t words[2];
  WAN_FORMAT InRegisters(const std::uint8_t* bytes, int shift, int mask) {
    const auto loaded = load<std::uint64_t, kAlign>(bytes);
    const std::uint32_t masks = static_cast<std::uint32_t>(mask) * 0x01010101u;
    words[0] = (static_cast<std::uint32_t>(loaded) >> shift) & masks;
    words[1] = (static_cast<std::uint32_t>(loaded >> 32) >> shift) & masks;
  }
  WAN_FORMAT int operator()(int i) const { return static_cast<int>((words[i / 4] >> (8 * (i % 4))) & 0xffu); }
};

/// Integers of whose bits those from `at` on stand elsewhere.
struct JoinedInMemory {
  InMemory low, high;
  int at;
  WAN_FORMAT int operator()(int i) const { return low(i) | high(i) << at; }
};
WAN_FORMAT JoinedInMemory joined(const InMemory& low, const InMemory& high, int at) {
  return {low, high, at};
}
template <int kAlign>
WAN_FORMAT InRegisters<kAlign> joined(InRegisters<kAlign> low, const InRegisters<kAlign>& high, int at) {
  low.words[0] |= high.words[0] << at;
  low.words[1] |= high.words[1] << at;
  return low;
}

/// The values of a run: d * (q - zero).
template <typename Integers>
struct Scaled {
  float d;
  Integers q;
  int zero;
  WAN_FORMAT float operator()(int i) const { return d * static_cast<float>(q(i) - zero); }
};
template <typename Integers>
Scaled(float, Integers, int) -> Scaled<Integers>;

/// The values of a run: d * q + m.
template <typename Integers>
struct Affine {
  float d, m;
  Integers q;
  WAN_FORMAT float operator()(int i) const { return d * static_cast<float>(q(i)) + m; }
};
template <typename Integers>
Affine(float, float, Integers) -> Affine<Integers>;

/// 4 bits of exponent with bias 7, 3 of mantissa; no infinities, NaN where all seven bits are set.
WAN_FORMAT float e4m3_value(std::uint32_t code) {
#if defined(__CUDA_ARCH__)
  return half_value(__nv_cvt_fp8_to_halfraw(static_cast<__nv_fp8_storage_t>(code), __NV_E4M3).x);
#else
  const std::uint32_t magnitude = code & 0x7fu;
  const float normal = bits_as_float((magnitude << 20) + (120u << 23));
  const float subnormal = static_cast<float>(static_cast<int>(magnitude)) * 0x1p-9f;
  const float value = magnitude < 8 ? subnormal : normal;
  const float known = magnitude == 0x7f ? bits_as_float(0x7fc00000u) : value;
  return (code & 0x80u) != 0 ? -known : known;
#endif
}

/// The upper half of an IEEE half.
WAN_FORMAT float e5m2_value(std::uint32_t code) {
  return half_value(code << 8);
}

}  // namespace wan::formats
