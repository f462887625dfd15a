#pragma once
// What is done with a mask's logits on the host: how sure they are, filling holes, enlarging.

#include <cstdint>
#include <span>

namespace wan::sam2 {

/// The logits of pixels without the object, where a frame has none.
inline constexpr float kNoObject = -1024.0f;

/// The share of logits above -delta that are above delta too; 1 where none is.
float stability(std::span<const float> logits, float delta);

/// Connected parts of the background (logits <= 0, neighbours on eight sides) of at most `area` pixels become object: 0.1. logits [size, size].
void fill_holes(std::span<float> logits, std::int64_t size, std::int64_t area);

/// 1 where logits [size, size], enlarged as PyTorch's interpolate(mode="bilinear", align_corners=False) does, are above 0, 0 elsewhere: mask
/// [height, width].
void threshold(std::span<const float> logits, std::int64_t size, std::int64_t width, std::int64_t height,
               std::span<std::uint8_t> mask);

/// What of a mask is remembered: [side, side] of 20 p - 10, where p is the sigmoid of the logits, enlarged likewise, or, `binary`, whether they are above 0.
void to_remember(std::span<const float> logits, std::int64_t size, std::int64_t side, bool binary,
                 std::span<float> out);

}  // namespace wan::sam2
