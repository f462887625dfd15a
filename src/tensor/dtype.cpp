#include "tensor/dtype.h"

#include <array>

#include "base/checked_math.h"
#include "base/error.h"
#include "tensor/formats/all_formats.h"

namespace wan {

namespace {

struct Facts {
  const char* name;
  std::size_t values;
  std::size_t bytes;
};

template <typename... Formats>
constexpr std::array<Facts, sizeof...(Formats)> facts_of(formats::FormatList<Formats...>) {
  return {Facts{Formats::kName, Formats::kValues, Formats::kBytes}...};
}

const Facts& facts(DType dtype) {
  static constexpr std::array<Facts, 10> kElements{{{"f64", 1, 8},
                                                    {"f32", 1, 4},
                                                    {"f16", 1, 2},
                                                    {"bf16", 1, 2},
                                                    {"i64", 1, 8},
                                                    {"i32", 1, 4},
                                                    {"i16", 1, 2},
                                                    {"i8", 1, 1},
                                                    {"u8", 1, 1},
                                                    {"bool", 1, 1}}};
  static constexpr auto kPacked = facts_of(formats::All{});
  static_assert(kElements.size() == static_cast<std::size_t>(DType::kF8E4M3));
  static_assert(kElements.size() + kPacked.size() == static_cast<std::size_t>(DType::kIQ4_XS) + 1);
  const auto index = static_cast<std::size_t>(dtype);
  WAN_CHECK(index < kElements.size() + kPacked.size(), kInternal, "[dtype] unknown dtype {}", index);
  return index < kElements.size() ? kElements[index] : kPacked[index - kElements.size()];
}

}  // namespace

std::size_t values_per_block(DType dtype) {
  return facts(dtype).values;
}

std::size_t bytes_per_block(DType dtype) {
  return facts(dtype).bytes;
}

std::size_t dtype_size(DType dtype) {
  const Facts& of = facts(dtype);
  WAN_CHECK(of.values == 1, kInternal, "[dtype_size] an element of {} has no size of its own", of.name);
  return of.bytes;
}

std::size_t dtype_bytes(DType dtype, std::int64_t elements) {
  const Facts& of = facts(dtype);
  const auto count = static_cast<std::size_t>(elements);
  WAN_CHECK(count % of.values == 0, kInternal, "[dtype_bytes] {} elements of {} are no whole blocks of {}",
            count, of.name, of.values);
  return checked_mul(count / of.values, of.bytes, "tensor");
}

const char* dtype_name(DType dtype) {
  return facts(dtype).name;
}

bool is_floating(DType dtype) {
  return dtype == DType::kF64 || dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16;
}

bool is_f8(DType dtype) {
  return dtype == DType::kF8E4M3 || dtype == DType::kF8E5M2;
}

float to_float(F16 value) {
  const std::uint32_t sign = static_cast<std::uint32_t>(value.bits & 0x8000u) << 16;
  const std::uint32_t exponent = (value.bits >> 10) & 0x1fu;
  const std::uint32_t mantissa = value.bits & 0x3ffu;
  if (exponent == 0x1fu) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112u) << 23) | (mantissa << 13));
  const float subnormal = static_cast<float>(mantissa) * 0x1p-24f;
  return sign != 0 ? -subnormal : subnormal;
}

F16 to_f16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000u);
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return {static_cast<std::uint16_t>(sign | 0x7e00u)};   // NaN
  if (magnitude >= 0x477ff000u) return {static_cast<std::uint16_t>(sign | 0x7c00u)};  // rounds to infinity
  if (magnitude < 0x38800000u) {  // subnormal: let the FPU round at the right place
    const float scaled = std::bit_cast<float>(magnitude) + 0.5f;
    return {static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(scaled) - 0x3f000000u))};
  }
  const std::uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return {static_cast<std::uint16_t>(sign | ((rounded - 0x38000000u) >> 13))};
}

}  // namespace wan
