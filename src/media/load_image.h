#pragma once
// Still images in: JPEG, PNG and WebP files as RGB.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

#include "media/image.h"

namespace wan {

/// What a file may ask for. Its header is held against this before memory is taken for its pixels.
struct ImageLimits {
  std::int64_t max_pixels = 178'956'970;  // 2^29 / 3, where Pillow refuses too: half a gigabyte of RGB
  int max_side = 65535;                   // as JPEG has it
};

/// Reads the file at `path`, whose format its content tells, not its name. The pixels are those of Pillow's
/// Image.open(path).convert("RGB"), except that
///   * the EXIF orientation is applied;
///   * alpha, of pixels or of palette entries and colours (tRNS), is flattened over white;
///   * of 16-bit grey the high byte is taken, as of 16-bit colour (Pillow clips to 255).
/// A file of several frames gives its first. Colour profiles are not applied. Throws BadFile where the file is missing, damaged,
/// truncated, beyond `limits` or in another format.
Image load_image(const std::filesystem::path& path, const ImageLimits& limits = {});

/// The same for a file in memory, which errors call `name`.
Image decode_image(std::span<const std::byte> file, std::string_view name, const ImageLimits& limits = {});

}  // namespace wan
