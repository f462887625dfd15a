#pragma once
// Float video frames in [-1, 1] to the 8-bit RGB that encoders take.
//
// The arithmetic is that of the official save_video (torchvision make_grid with value_range (-1, 1), then
// `(x * 255).type(uint8)`), each operation rounded to float32: clamp to [-1, 1], add 1, divide by 2, multiply
// by 255, truncate. Every finite float gives the same level as there.

#include <cstddef>
#include <cstdint>
#include <span>

namespace wan {

/// Converts values in any order: `levels[i]` from `values[i]` (a channels-last frame [H, W, 3] is one call).
/// Returns how many values were not finite: such a frame is damaged and a caller should refuse it. NaN gives
/// level 0, infinities clamp. Throws InvalidArgument when the spans differ in length.
std::int64_t quantize_levels(std::span<const float> values, std::span<std::uint8_t> levels);

/// One frame of a planar video [3, ...]: three planes of `pixels` (= H * W) values, the first of each at
/// `planes + c * plane_stride` values, into `rgb` [H, W, 3], 3 * pixels bytes. A frame of [3, F, H, W] has
/// plane_stride F * H * W. Returns how many values were not finite.
std::int64_t quantize_planar_frame(const float* planes, std::ptrdiff_t plane_stride, std::int64_t pixels,
                                   std::uint8_t* rgb);

}  // namespace wan
