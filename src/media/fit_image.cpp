#include "media/fit_image.h"

#include <algorithm>

#include "media/resample.h"

namespace wan {

Image fit_into(const Image& image, int width, int height, bool shrinks) {
  const bool tall = static_cast<double>(image.height) / image.width > static_cast<double>(height) / width;
  // The official order of operations: a product first would round otherwise.
  const int fit_width =
      tall ? std::max(static_cast<int>(static_cast<double>(height) / image.height * image.width), 1) : width;
  const int fit_height =
      tall ? height : std::max(static_cast<int>(static_cast<double>(width) / image.width * image.height), 1);
  Image fitted = shrinks ? resize_opencv_area(image, fit_width, fit_height)
                         : resize_opencv_linear(image, fit_width, fit_height);
  if (fit_width == width && fit_height == height) return fitted;
  Image frame = make_image(width, height);
  const int left = (width - fit_width) / 2, top = (height - fit_height) / 2;
  for (int y = 0; y < fit_height; ++y)
    std::copy_n(fitted.row(y), fitted.row_bytes(), frame.row(top + y) + std::ptrdiff_t{left} * 3);
  return frame;
}

}  // namespace wan
