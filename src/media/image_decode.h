#pragma once
// The decoders behind load_image(), one file each, and what they share.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/error.h"
#include "media/image.h"
#include "media/load_image.h"

namespace wan {

/// Pixels as they are stored, and how to turn them (EXIF's number, 1 where there is none).
struct DecodedImage {
  Image image;
  int orientation = 1;
};

/// Each takes a file that begins as its format does, calls it `name` in errors, and throws BadFile.
DecodedImage decode_jpeg(std::span<const std::byte> file, std::string_view name, const ImageLimits& limits);
DecodedImage decode_png(std::span<const std::byte> file, std::string_view name, const ImageLimits& limits);
DecodedImage decode_webp(std::span<const std::byte> file, std::string_view name, const ImageLimits& limits);

/// Throws BadFile where a header's size is beyond the limits, or zero.
void check_image_size(std::uint64_t width, std::uint64_t height, std::string_view name,
                      const ImageLimits& limits);

/// The remedy at the end of an error about a file that does not decode.
inline constexpr std::string_view kSaveAgain = "save it again as a PNG with an image editor";

/// round(a * b / 255), exact for bytes.
inline unsigned scale_255(unsigned a, unsigned b) {
  const unsigned product = a * b + 128;
  return ((product >> 8) + product) >> 8;
}

/// RGBA pixels over white, as RGB. `rgb` may begin where `rgba` does.
inline void flatten_over_white(const std::uint8_t* rgba, std::size_t pixels, std::uint8_t* rgb) {
  for (std::size_t i = 0; i < pixels; ++i) {
    const unsigned alpha = rgba[4 * i + 3];
    for (std::size_t c = 0; c < 3; ++c) {
      const unsigned sum = rgba[4 * i + c] * alpha + 255 * (255 - alpha) + 128;
      rgb[3 * i + c] = static_cast<std::uint8_t>(((sum >> 8) + sum) >> 8);  // round(sum / 255)
    }
  }
}

}  // namespace wan
