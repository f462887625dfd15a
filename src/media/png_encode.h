#pragma once
// An RGB image as the bytes of a PNG file.

#include <cstdint>
#include <vector>

#include "media/metadata.h"

namespace wan {

/// 8-bit RGB [height, width, 3] with an sRGB chunk, and each pair of `metadata` as an uncompressed iTXt chunk
/// before the image. The same input gives the same bytes. Throws InvalidArgument for impossible sizes.
std::vector<std::uint8_t> encode_png(const std::uint8_t* rgb, int width, int height,
                                     const Metadata& metadata);

}  // namespace wan
