#pragma once
// The size that a video has in an area, and frames in that size.

#include <cstdint>

#include "media/image.h"
#include "wan/request.h"

namespace wan {

/// About `area` pixels in the shape of `width` x `height`, each side rounded down to a multiple of 16. (The official code first looks for a
/// better one, and by a mistake never finds it.) Throws InvalidArgument where a side would be below 16.
VideoSize size_of_area(int width, int height, std::int64_t area);

/// The image in size_of_area() by fit_into(), which averages where pixels become fewer.
Image fit_to_area(const Image& image, std::int64_t area);

}  // namespace wan
