#include "media/image_orientation.h"

#include <cstdint>
#include <cstring>
#include <string_view>
#include <utility>

namespace wan {

namespace {

// TIFF 6.0, section 2, and the EXIF tag.
constexpr std::uint32_t kOrientationTag = 0x0112;
constexpr std::uint32_t kShort = 3;
constexpr std::uint32_t kLong = 4;
constexpr std::size_t kEntryBytes = 12;

/// Numbers of a TIFF block in its byte order. Beyond its end there are zeros, which are no valid content.
class TiffBytes {
 public:
  explicit TiffBytes(std::span<const std::byte> bytes)
      : bytes_(bytes), big_endian_(!bytes.empty() && bytes[0] == std::byte{'M'}) {}

  std::uint32_t number(std::size_t at, std::size_t size) const {
    if (at > bytes_.size() || size > bytes_.size() - at) return 0;
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < size; ++i)
      value = value << 8 | std::to_integer<std::uint32_t>(bytes_[at + (big_endian_ ? i : size - 1 - i)]);
    return value;
  }

 private:
  std::span<const std::byte> bytes_;
  bool big_endian_;
};

}  // namespace

int exif_orientation(std::span<const std::byte> exif) {
  constexpr std::string_view kPrefix("Exif\0\0", 6);
  const auto begins_with = [&](std::string_view text) {
    return exif.size() >= text.size() && std::memcmp(exif.data(), text.data(), text.size()) == 0;
  };
  if (begins_with(kPrefix)) exif = exif.subspan(kPrefix.size());
  if (!begins_with(std::string_view("II*\0", 4)) && !begins_with(std::string_view("MM\0*", 4))) return 1;
  const TiffBytes tiff(exif);
  const std::size_t directory = tiff.number(4, 4);
  const std::size_t entries = tiff.number(directory, 2);
  for (std::size_t i = 0; i < entries; ++i) {
    const std::size_t entry = directory + 2 + i * kEntryBytes;
    if (entry >= exif.size()) break;
    if (tiff.number(entry, 2) != kOrientationTag) continue;
    const std::uint32_t type = tiff.number(entry + 2, 2);
    if (type != kShort && type != kLong) return 1;
    const std::uint32_t value = tiff.number(entry + 8, type == kShort ? 2 : 4);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

Image make_upright(Image image, int orientation) {
  if (orientation < 2 || orientation > 8) return image;
  // Where the upright image's pixel (x, y) is stored: its row and column exchange from 5 on, and each may be
  // counted from the far end.
  const bool exchanged = orientation >= 5;
  const bool from_right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool from_bottom = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  Image upright = exchanged ? make_image(image.height, image.width) : make_image(image.width, image.height);
  for (int y = 0; y < upright.height; ++y) {
    std::uint8_t* out = upright.row(y);
    for (int x = 0; x < upright.width; ++x, out += 3) {
      int column = exchanged ? y : x;
      int row = exchanged ? x : y;
      if (from_right) column = image.width - 1 - column;
      if (from_bottom) row = image.height - 1 - row;
      std::memcpy(out, image.row(row) + static_cast<std::size_t>(column) * 3, 3);
    }
  }
  return upright;
}

}  // namespace wan
