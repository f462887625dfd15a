#include "tasks/s2v/pictures.h"

#include <algorithm>
#include <vector>

#include "media/image_size.h"
#include "media/resample.h"

namespace wan {

namespace {

ImageSize resized_to(const Image& image, const VideoSize& size) {
  return short_side_size({image.width, image.height}, std::min(size.width, size.height));
}

CenterCrop place_in(const ImageSize& resized, const VideoSize& size) {
  return center_crop(resized, {size.width, size.height});
}

/// pixels [height, width, 3] of `from` into the frame, at its place.
void put_at(const CenterCrop& place, const float* pixels, const ImageSize& from, const VideoSize& size,
            float* frame) {
  const int width = std::min(from.width, size.width);
  const int height = std::min(from.height, size.height);
  for (int y = 0; y < height; ++y)
    std::copy_n(pixels + (std::int64_t{place.y + y} * from.width + place.x) * 3, std::int64_t{width} * 3,
                frame + (std::int64_t{place.top + y} * size.width + place.left) * 3);
}

/// level / 255 * 2 - 1, in the official code's order.
std::vector<float> values_of(const Image& image) {
  std::vector<float> pixels(image.rgb.size());
  std::ranges::transform(image.rgb, pixels.begin(),
                         [](std::uint8_t level) { return static_cast<float>(level) / 255.0f * 2.0f - 1.0f; });
  return pixels;
}

Tensor filled_frame(const VideoSize& size, float value) {
  Tensor frame(DType::kF32, {size.height, size.width, 3});
  std::fill_n(frame.as<float>(), frame.elements(), value);
  return frame;
}

}  // namespace

bool pads_reference(const Image& image, const VideoSize& size) {
  return place_in(resized_to(image, size), size).pads;
}

Tensor reference_frame(const Image& image, const VideoSize& size) {
  const ImageSize resized = resized_to(image, size);
  const std::vector<float> pixels = values_of(resize_bilinear(image, resized.width, resized.height));
  constexpr float kBlack = -1.0f;
  Tensor frame = filled_frame(size, kBlack);
  put_at(place_in(resized, size), pixels.data(), resized, size, frame.as<float>());
  return frame;
}

Tensor pose_frame(const Image& image, const VideoSize& size) {
  const ImageSize resized = resized_to(image, size);
  std::vector<float> pixels = values_of(image);
  if (resized.width != image.width || resized.height != image.height) {
    std::vector<float> small(static_cast<std::size_t>(resized.width) *
                             static_cast<std::size_t>(resized.height) * 3);
    resize_bilinear(pixels, image.width, image.height, small, resized.width, resized.height);
    pixels = std::move(small);
  }
  Tensor frame = filled_frame(size, 0.0f);
  put_at(place_in(resized, size), pixels.data(), resized, size, frame.as<float>());
  return frame;
}

}  // namespace wan
