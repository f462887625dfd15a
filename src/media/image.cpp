#include "media/image.h"

#include <algorithm>
#include <array>

#include "base/error.h"

namespace wan {

Image make_image(int width, int height) {
  WAN_CHECK(width > 0 && height > 0, kInvalidArgument, "[image] expected a positive size, got {}x{}", width,
            height);
  Image image{width, height, {}};
  image.rgb.resize(image.row_bytes() * static_cast<std::size_t>(height));
  return image;
}

Image crop(const Image& image, int x, int y, int width, int height) {
  WAN_CHECK(x >= 0 && y >= 0 && width > 0 && height > 0 && width <= image.width && height <= image.height &&
                x <= image.width - width && y <= image.height - height,
            kInvalidArgument, "[crop] expected a part of {}x{} pixels, got {}x{} at ({}, {})", image.width,
            image.height, width, height, x, y);
  Image part = make_image(width, height);
  for (int row = 0; row < height; ++row)
    std::copy_n(image.row(y + row) + static_cast<std::size_t>(x) * 3, part.row_bytes(), part.row(row));
  return part;
}

void to_unit_range(std::span<const std::uint8_t> levels, std::span<float> values) {
  WAN_CHECK(levels.size() == values.size(), kInvalidArgument,
            "[image] expected as many values as levels, {}, got {}", levels.size(), values.size());
  std::array<float, 256> table;
  for (std::size_t level = 0; level < table.size(); ++level) {
    const float share = static_cast<float>(level) / 255.0f;
    table[level] = (share - 0.5f) / 0.5f;
  }
  std::transform(levels.begin(), levels.end(), values.begin(),
                 [&](std::uint8_t level) { return table[level]; });
}

}  // namespace wan
