#pragma once
// Element types, their sizes and the conversion of single bf16 and fp16 values.

#include <bit>
#include <cstddef>
#include <cstdint>

namespace wan {

enum class DType : std::uint8_t { kF64, kF32, kF16, kBF16, kI64, kI32, kU8, kBool };

/// Bytes of one element.
std::size_t dtype_size(DType dtype);
/// "f32", "bf16", ...
const char* dtype_name(DType dtype);
bool is_floating(DType dtype);

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
constexpr DType dtype_of<std::uint8_t>() {
  return DType::kU8;
}

}  // namespace wan
