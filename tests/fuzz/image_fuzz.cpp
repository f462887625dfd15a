// libFuzzer entry of the image readers: any bytes give an image of the size that was allowed, or a wan::Error. A PNG's check
// sums are made right first, which mutated bytes would hardly ever be.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>

#include "media/load_image.h"
#include "support/png_crc.h"
#include "wan/error.h"

namespace {

constexpr std::size_t kPngMagic = 8;

std::uint32_t big_endian(const std::string& file, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(file[at + i]);
  return value;
}

void mend_png(std::string& file) {
  std::size_t at = kPngMagic;
  while (at + 12 <= file.size()) {
    const std::size_t length = big_endian(file, at);
    if (length > file.size() - at - 12) return;
    const std::size_t end = at + 8 + length;
    const std::uint32_t crc = wan::test::png_crc(std::string_view(file).substr(at + 4, length + 4));
    for (std::size_t i = 0; i < 4; ++i) file[end + i] = static_cast<char>(crc >> (24 - 8 * i));
    at = end + 4;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // Small enough that a hundred images a second are decoded at the least.
  constexpr wan::ImageLimits kLimits{.max_pixels = 1 << 14, .max_side = 1 << 12};
  try {
    wan::Image image;
    if (size >= kPngMagic && data[0] == 0x89) {
      std::string file(reinterpret_cast<const char*>(data), size);
      mend_png(file);
      image = wan::decode_image(std::as_bytes(std::span(file)), "input", kLimits);
    } else {
      image = wan::decode_image(std::as_bytes(std::span(data, size)), "input", kLimits);
    }
    if (image.width <= 0 || image.height <= 0 || image.width > kLimits.max_side ||
        image.height > kLimits.max_side ||
        image.rgb.size() != image.row_bytes() * static_cast<std::size_t>(image.height))
      std::abort();
  } catch (const wan::Error&) {
  }
  return 0;
}
