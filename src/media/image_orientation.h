#pragma once
// EXIF's orientation: which of the eight ways of turning and mirroring makes a stored image upright.

#include <cstddef>
#include <span>

#include "media/image.h"

namespace wan {

/// The orientation, 1 to 8, that an EXIF block (a TIFF header, with or without "Exif\0\0" before it) states; 1
/// where it states none or is malformed: a photograph with broken metadata is still a photograph.
int exif_orientation(std::span<const std::byte> exif);

/// The upright image. Orientations outside 2..8 leave it as it is.
Image make_upright(Image image, int orientation);

}  // namespace wan
