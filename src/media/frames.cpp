#include "media/frames.h"

#include <bit>

#include "base/error.h"

namespace wan {

namespace {

/// The comparisons are written so that NaN takes the bound -1: converting NaN to an integer is undefined.
inline std::uint8_t level_of(float x) {
  const float above = x > -1.0f ? x : -1.0f;
  const float clamped = above < 1.0f ? above : 1.0f;
  const float unit = (clamped - -1.0f) / 2.0f;
  return static_cast<std::uint8_t>(static_cast<std::int32_t>(unit * 255.0f));
}

inline std::int32_t not_finite(float x) {
  constexpr std::uint32_t kExponent = 0x7f800000u;
  return (std::bit_cast<std::uint32_t>(x) & kExponent) == kExponent ? 1 : 0;
}

}  // namespace

std::int64_t quantize_levels(std::span<const float> values, std::span<std::uint8_t> levels) {
  WAN_CHECK(values.size() == levels.size(), kInvalidArgument,
            "[quantize_levels] expected as many levels as values, got {} and {}", levels.size(),
            values.size());
  std::int64_t bad = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    bad += not_finite(values[i]);
    levels[i] = level_of(values[i]);
  }
  return bad;
}

std::int64_t quantize_planar_frame(const float* planes, std::ptrdiff_t plane_stride, std::int64_t pixels,
                                   std::uint8_t* rgb) {
  const float* red = planes;
  const float* green = planes + plane_stride;
  const float* blue = planes + 2 * plane_stride;
  std::int64_t bad = 0;
  for (std::int64_t i = 0; i < pixels; ++i) {
    bad += not_finite(red[i]) + not_finite(green[i]) + not_finite(blue[i]);
    rgb[3 * i + 0] = level_of(red[i]);
    rgb[3 * i + 1] = level_of(green[i]);
    rgb[3 * i + 2] = level_of(blue[i]);
  }
  return bad;
}

}  // namespace wan
