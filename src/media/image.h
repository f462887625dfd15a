#pragma once
// Image: a still image in memory, 8-bit RGB.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace wan {

/// RGB, 8 bits, [height, width, 3], rows one after another.
struct Image {
  int width = 0;
  int height = 0;
  std::vector<std::uint8_t> rgb;

  std::uint8_t* row(int y) { return rgb.data() + row_bytes() * static_cast<std::size_t>(y); }
  const std::uint8_t* row(int y) const { return rgb.data() + row_bytes() * static_cast<std::size_t>(y); }
  std::size_t row_bytes() const { return static_cast<std::size_t>(width) * 3; }
};

/// A black image. Throws InvalidArgument unless both sides are positive.
Image make_image(int width, int height);

/// The `width` x `height` pixels whose upper left one is (x, y). Throws InvalidArgument where they are not all
/// inside the image.
Image crop(const Image& image, int x, int y, int width, int height);

/// 8-bit levels as floats in [-1, 1]: (level / 255 - 0.5) / 0.5, each step in float32 as the official code
/// takes it (torchvision's to_tensor, then sub and div). Both spans have one length.
void to_unit_range(std::span<const std::uint8_t> levels, std::span<float> values);

}  // namespace wan
