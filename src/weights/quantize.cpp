#include "weights/quantize.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "tensor/unpack.h"
#include "weights/convert.h"

namespace wan {

namespace {

constexpr std::array<const char*, 5> kNames{"bf16", "fp8", "int8", "q8_0", "q4_0"};
constexpr std::int64_t kBlock = 32;  // of q8_0 and q4_0
constexpr float kLargestF8 = 448.0f;
constexpr float kLargestI8 = 127.0f;

float largest_magnitude(const float* values, std::int64_t count) {
  float largest = 0.0f;
  for (std::int64_t i = 0; i < count; ++i) largest = std::max(largest, std::fabs(values[i]));
  return largest;
}

/// To nearest even; what is too large becomes the largest.
std::uint8_t to_e4m3(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint8_t>((bits >> 24) & 0x80u);
  const float magnitude = std::fabs(value);
  if (std::isnan(value)) return static_cast<std::uint8_t>(sign | 0x7fu);
  if (magnitude >= kLargestF8) return static_cast<std::uint8_t>(sign | 0x7eu);
  if (magnitude < 0x1p-6f)
    return static_cast<std::uint8_t>(sign | static_cast<std::uint8_t>(std::nearbyint(magnitude * 0x1p9f)));
  const std::uint32_t from = bits & 0x7fffffffu;
  const std::uint32_t rounded = (from + 0x7ffffu + ((from >> 20) & 1u)) >> 20;
  return static_cast<std::uint8_t>(sign | std::min(rounded - (120u << 3), 0x7eu));
}

void write_half(float value, std::byte* to) {
  const F16 half = to_f16(value);
  std::memcpy(to, &half.bits, sizeof half.bits);
}

/// ggml's quantize_row_q8_0: half d, i8 q[32].
void quantize_q8_0(const float* values, std::byte* block) {
  const float d = largest_magnitude(values, kBlock) / kLargestI8;
  const float inverse = std::isfinite(1.0f / d) ? 1.0f / d : 0.0f;
  write_half(d, block);
  for (std::int64_t i = 0; i < kBlock; ++i)
    block[2 + i] = static_cast<std::byte>(static_cast<std::int8_t>(std::round(values[i] * inverse)));
}

/// ggml's quantize_row_q4_0: half d, nibbles; the value of the largest magnitude becomes -8.
void quantize_q4_0(const float* values, std::byte* block) {
  const float* const largest =
      std::max_element(values, values + kBlock, [](float a, float b) { return std::fabs(a) < std::fabs(b); });
  const float d = *largest / -8.0f;
  const double inverse = std::isfinite(1.0f / d) ? static_cast<double>(1.0f / d) : 0.0;
  write_half(d, block);
  const auto code = [&](float value) {
    return static_cast<unsigned>(std::clamp(static_cast<double>(value) * inverse + 8.5, 0.0, 15.0));
  };
  for (std::int64_t i = 0; i < kBlock / 2; ++i)
    block[2 + i] = static_cast<std::byte>(code(values[i]) | code(values[i + kBlock / 2]) << 4);
}

}  // namespace

std::optional<MatrixFormat> parse_matrix_format(std::string_view text) {
  const auto* const found = std::ranges::find(kNames, text);
  if (found == kNames.end()) return std::nullopt;
  return static_cast<MatrixFormat>(found - kNames.begin());
}

const char* matrix_format_name(MatrixFormat format) {
  return kNames[static_cast<std::size_t>(format)];
}

DType dtype_of(MatrixFormat format) {
  constexpr std::array<DType, kNames.size()> kDTypes{DType::kBF16, DType::kF8E4M3, DType::kI8, DType::kQ8_0,
                                                     DType::kQ4_0};
  return kDTypes[static_cast<std::size_t>(format)];
}

bool has_row_scales(MatrixFormat format) {
  return format == MatrixFormat::kF8 || format == MatrixFormat::kI8;
}

double quantize_row(MatrixFormat format, const float* values, std::int64_t count, std::byte* codes,
                    float* scale) {
  std::vector<float> back(static_cast<std::size_t>(count));
  if (format == MatrixFormat::kBF16) {
    for (std::int64_t i = 0; i < count; ++i) {
      const BF16 rounded = to_bf16(values[i]);
      std::memcpy(codes + i * 2, &rounded.bits, 2);
      back[static_cast<std::size_t>(i)] = to_float(rounded);
    }
  } else if (has_row_scales(format)) {
    const bool is_f8 = format == MatrixFormat::kF8;
    const float largest = largest_magnitude(values, count);
    *scale = largest / (is_f8 ? kLargestF8 : kLargestI8);
    if (*scale == 0.0f) *scale = 1.0f;  // of zeros, or of values too small for one
    for (std::int64_t i = 0; i < count; ++i) {
      const float scaled = values[i] / *scale;
      const float code = std::clamp(std::nearbyint(scaled), -kLargestI8, kLargestI8);
      const auto byte = is_f8 ? to_e4m3(scaled) : static_cast<std::uint8_t>(static_cast<std::int8_t>(code));
      codes[i] = static_cast<std::byte>(byte);
      back[static_cast<std::size_t>(i)] = *scale * (is_f8 ? formats::e4m3_value(byte) : code);
    }
  } else {
    const auto bytes = static_cast<std::int64_t>(bytes_per_block(dtype_of(format)));
    for (std::int64_t i = 0; i < count / kBlock; ++i)
      (format == MatrixFormat::kQ8_0 ? quantize_q8_0 : quantize_q4_0)(values + i * kBlock, codes + i * bytes);
    unpack_values(dtype_of(format), codes, count, back.data());
  }
  double error = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const double off =
        static_cast<double>(back[static_cast<std::size_t>(i)]) - static_cast<double>(values[i]);
    error += off * off;
  }
  return error;
}

Squares quantize_matrix(MatrixFormat format, const TensorEntry& source, std::span<std::byte> codes,
                        std::span<float> scales) {
  const std::int64_t rows = source.shape[0];
  const std::int64_t columns = source.shape[1];
  const std::size_t row_bytes = dtype_bytes(dtype_of(format), columns);
  WAN_CHECK(codes.size() == row_bytes * static_cast<std::size_t>(rows), kInternal,
            "[quantize] {} bytes for {}", codes.size(), source.shape.to_string());
  constexpr std::int64_t kRowsAtOnce = 64;  // a change reads its factors anew each time
  double errors = 0;
  double squares = 0;
#ifdef _OPENMP
#pragma omp parallel for schedule(static) reduction(+ : errors, squares)
#endif
  for (std::int64_t first = 0; first < rows; first += kRowsAtOnce) {
    const std::int64_t count = std::min(kRowsAtOnce, rows - first) * columns;
    std::vector<float> values(static_cast<std::size_t>(count));
    convert_changed(source, first * columns, TensorView(values.data(), DType::kF32, {count}));
    for (std::int64_t row = first; row < std::min(first + kRowsAtOnce, rows); ++row) {
      const auto of_row = std::span(values).subspan(static_cast<std::size_t>((row - first) * columns),
                                                    static_cast<std::size_t>(columns));
      double sum = 0;
      for (const float value : of_row) sum += static_cast<double>(value) * static_cast<double>(value);
      squares += sum;
      if (!std::isfinite(sum)) continue;  // no code stands for such a value: the sum tells
      const auto at = static_cast<std::size_t>(row);
      float scale = 1.0f;
      errors += quantize_row(format, of_row.data(), columns, codes.data() + at * row_bytes, &scale);
      if (has_row_scales(format)) scales[at] = scale;
    }
  }
  return {errors, squares};
}

}  // namespace wan
