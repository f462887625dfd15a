#include "preprocess/fit.h"

#include <cmath>

#include "base/error.h"
#include "media/fit_image.h"

namespace wan {

VideoSize size_of_area(int width, int height, std::int64_t area) {
  constexpr double kUnit = 16;
  const double aspect = static_cast<double>(width) / height;
  const double exact_height = std::sqrt(static_cast<double>(area) / aspect);
  const double exact_width = static_cast<double>(area) / exact_height;
  const auto rounded = [](double side) { return static_cast<int>(std::floor(side / kUnit) * kUnit); };
  const VideoSize size{rounded(exact_width), rounded(exact_height)};
  WAN_CHECK_FIELD(size.width > 0 && size.height > 0, kInvalidArgument, "resolution_area",
                  "frames of {}x{} in an area of {} pixels would have a side below 16; ask for a larger area",
                  width, height, area);
  return size;
}

Image fit_to_area(const Image& image, std::int64_t area) {
  const VideoSize size = size_of_area(image.width, image.height, area);
  const bool shrinks = std::int64_t{size.width} * size.height < std::int64_t{image.width} * image.height;
  return fit_into(image, size.width, size.height, shrinks);
}

}  // namespace wan
