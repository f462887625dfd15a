#pragma once
// What the formats of packed weights are written with. They are compiled for the host, for each of its instruction sets and for the
// device: nothing here has an address, so that no copy for one processor stands in for another's.

#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
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

/// Little-endian, at any address.
WAN_FORMAT std::uint32_t load_u16(const std::uint8_t* p) {
  return static_cast<std::uint32_t>(p[0]) | static_cast<std::uint32_t>(p[1]) << 8;
}
WAN_FORMAT std::uint32_t load_u32(const std::uint8_t* p) {
  return load_u16(p) | load_u16(p + 2) << 16;
}

/// The value of an IEEE half.
WAN_FORMAT float half_value(std::uint32_t half) {
  const std::uint32_t sign = (half & 0x8000u) << 16;
  const std::uint32_t magnitude = (half & 0x7fffu) << 13;
  const std::uint32_t normal = magnitude + (112u << 23);
  std::uint32_t subnormal;
  const float shifted = bits_as_float(magnitude + (113u << 23)) - 0x1p-14f;
  std::memcpy(&subnormal, &shifted, sizeof subnormal);
  const std::uint32_t finite = magnitude < (1u << 23) ? subnormal : normal;
  return bits_as_float(sign | (magnitude < (31u << 23) ? finite : magnitude | 0x7f800000u));
}

WAN_FORMAT float load_half(const std::uint8_t* p) {
  return half_value(load_u16(p));
}

/// 4 bits of exponent with bias 7, 3 of mantissa; no infinities, NaN where all seven bits are set.
WAN_FORMAT float e4m3_value(std::uint32_t code) {
  const std::uint32_t magnitude = code & 0x7fu;
  const float normal = bits_as_float((magnitude << 20) + (120u << 23));
  const float subnormal = static_cast<float>(static_cast<int>(magnitude)) * 0x1p-9f;
  const float value = magnitude < 8 ? subnormal : normal;
  const float known = magnitude == 0x7f ? bits_as_float(0x7fc00000u) : value;
  return (code & 0x80u) != 0 ? -known : known;
}

/// The upper half of an IEEE half.
WAN_FORMAT float e5m2_value(std::uint32_t code) {
  return half_value(code << 8);
}

}  // namespace wan::formats
