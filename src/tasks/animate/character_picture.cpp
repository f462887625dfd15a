#include "tasks/animate/character_picture.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "media/fit_image.h"
#include "media/resample.h"
#include "models/clip/clip_vision.h"

namespace wan {

Image fit_character(const Image& picture, const VideoSize& size) {
  return fit_into(picture, size.width, size.height);
}

void to_model_range(std::span<const std::uint8_t> levels, std::span<float> values) {
  WAN_CHECK(levels.size() == values.size(), kInternal, "[picture] {} levels for {} values", levels.size(),
            values.size());
  std::ranges::transform(levels, values.begin(), [](std::uint8_t level) {
    return static_cast<float>(static_cast<double>(level) / 127.5 - 1.0);
  });
}

Tensor clip_pixels(const Image& picture, const ClipConfig& config) {
  const auto size = static_cast<int>(config.image_size());
  const auto area = static_cast<std::size_t>(size) * static_cast<std::size_t>(size);
  std::vector<float> values(picture.rgb.size()), small(area * 3);
  to_model_range(picture.rgb, values);
  resize_bicubic(values, picture.width, picture.height, small, size, size);
  Tensor pixels(DType::kF32, {3, size, size});
  for (std::size_t i = 0; i < area; ++i)
    for (std::size_t channel = 0; channel < 3; ++channel)
      pixels.as<float>()[channel * area + i] = small[3 * i + channel];
  normalize_clip_image(pixels);
  return pixels;
}

}  // namespace wan
