#pragma once
// Element types, their sizes and the conversion of single bf16 and fp16 values; and packed types, whose values come in blocks
// (tensor/formats/all_formats.h, tensor/unpack.h).

#include <bit>
#include <cstddef>
#include <cstdint>

namespace wan {

enum class DType : std::uint8_t {
  kF64,
  kF32,
  kF16,
  kBF16,
  kI64,
  kI32,
  kI16,
  kI8,
  kU8,
  kBool,
  // Packed, from here on in the order of tensor/formats/all_formats.h.
  kF8E4M3,
  kF8E5M2,
  kF8E4M3Scaled128,
  kF8E4M3Scaled64,
  kF8E5M2Scaled128,
  kF8E5M2Scaled64,
  kI8Scaled128,
  kI8Scaled64,
  kI8Rotated256,
  kQ8_0,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ2_K,
  kQ3_K,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  kIQ4_NL,
  kIQ4_XS
};

/// Values that come in blocks, to be unpacked before they are computed with.
inline bool is_packed(DType dtype) {
  return dtype >= DType::kF8E4M3;
}
/// Values and bytes of a block; 1 and the element's size where values stand alone.
std::size_t values_per_block(DType dtype);
std::size_t bytes_per_block(DType dtype);
/// Bytes of one element. Throws Internal for a dtype whose blocks have several.
std::size_t dtype_size(DType dtype);
/// Bytes of `elements` of them that follow one another. Throws InvalidArgument on overflow, and Internal unless they are whole blocks.
std::size_t dtype_bytes(DType dtype, std::int64_t elements);
/// "f32", "bf16", "q4_k", ...
const char* dtype_name(DType dtype);
/// f64 to bf16.
bool is_floating(DType dtype);
/// Either kind of fp8.
bool is_f8(DType dtype);

/// Storage of a bfloat16 value: the upper half of an IEEE float32.
struct BF16 {
  std::uint16_t bits;
};

/// Storage of an IEEE float16 value.
struct F16 {
  std::uint16_t bits;
};

inline float to_float(BF16 value) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(value.bits) << 16);
}

/// Rounds to nearest even, as PyTorch does; NaN stays NaN.
inline BF16 to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {static_cast<std::uint16_t>((bits >> 16) | 0x40u)};
  return {static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}

float to_float(F16 value);
F16 to_f16(float value);

/// DType of a C++ element type.
template <typename T>
constexpr DType dtype_of();
template <>
constexpr DType dtype_of<double>() {
  return DType::kF64;
}
template <>
constexpr DType dtype_of<float>() {
  return DType::kF32;
}
template <>
constexpr DType dtype_of<F16>() {
  return DType::kF16;
}
template <>
constexpr DType dtype_of<BF16>() {
  return DType::kBF16;
}
template <>
constexpr DType dtype_of<std::int64_t>() {
  return DType::kI64;
}
template <>
constexpr DType dtype_of<std::int32_t>() {
  return DType::kI32;
}
template <>
constexpr DType dtype_of<std::int8_t>() {
  return DType::kI8;
}
template <>
constexpr DType dtype_of<std::uint8_t>() {
  return DType::kU8;
}

}  // namespace wan
