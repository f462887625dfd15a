#pragma once
// A whole image in another shape, with black beside it, as the official animation code fits pictures and frames (OpenCV).

#include "media/image.h"

namespace wan {

/// The image as large as it fits into `width` x `height`, in the middle, by resize_opencv_linear(), or resize_opencv_area() where it `shrinks`. At least a pixel wide and
/// high. Throws as those do.
Image fit_into(const Image& image, int width, int height, bool shrinks = false);

}  // namespace wan
