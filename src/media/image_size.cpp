#include "media/image_size.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace wan {

namespace {

/// Python's a // b of positive floats: the quotient of a less its remainder, so that one that rounds up to a whole
/// number is not taken for it.
double floor_divide(double a, double b) {
  return std::round((a - std::fmod(a, b)) / b);
}

/// Python's and NumPy's round(): halves to even.
int round_half_even(double value) {
  return static_cast<int>(std::nearbyint(value));
}

void check_request(ImageSize image, std::int64_t area, int width_step, int height_step) {
  WAN_CHECK(image.width > 0 && image.height > 0 && width_step > 0 && height_step > 0, kInvalidArgument,
            "[size] expected positive sizes, got an image of {}x{} and steps of {}x{}", image.width,
            image.height, width_step, height_step);
  // Beyond 2^31 a side would not fit an int.
  WAN_CHECK(area > 0 && area < (std::int64_t{1} << 31), kInvalidArgument,
            "[size] expected an area between 1 and 2^31 pixels, got {}", area);
}

[[noreturn]] void refuse(ImageSize image, std::int64_t area, int width_step, int height_step) {
  fail(ErrorCode::kInvalidArgument,
       "[size] an image of {}x{} in {} pixels leaves no {}x{} block; crop it to a less extreme aspect ratio, "
       "or ask for a "
       "larger size",
       image.width, image.height, area, width_step, height_step);
}

}  // namespace

ImageSize area_size_i2v(ImageSize image, std::int64_t max_area, int stride, int patch) {
  check_request(image, max_area, stride, patch);
  const double aspect = static_cast<double>(image.height) / image.width;
  const auto area = static_cast<double>(max_area);
  // Rounded down twice, by the stride and then by the patch, and already whole when it is "rounded".
  const auto latent = [&](double side) {
    return round_half_even(floor_divide(floor_divide(side, stride), patch) * patch);
  };
  const ImageSize size{latent(std::sqrt(area / aspect)) * stride, latent(std::sqrt(area * aspect)) * stride};
  if (size.width == 0 || size.height == 0) refuse(image, max_area, stride * patch, stride * patch);
  return size;
}

ImageSize best_output_size(ImageSize image, int width_step, int height_step, std::int64_t expected_area) {
  check_request(image, expected_area, width_step, height_step);
  const double ratio = static_cast<double>(image.width) / image.height;
  const auto area = static_cast<double>(expected_area);
  const double width = std::pow(area * ratio, 0.5);  // as Python's **; std::sqrt may differ in the last bit
  const double height = area / width;
  const auto down = [](double side, int step) { return static_cast<int>(floor_divide(side, step) * step); };

  ImageSize by_width{down(width, width_step), 0};
  ImageSize by_height{0, down(height, height_step)};
  if (by_width.width == 0 || by_height.height == 0) refuse(image, expected_area, width_step, height_step);
  by_width.height = down(area / by_width.width, height_step);
  by_height.width = down(area / by_height.height, width_step);
  // Not below `height` and `width`, but for rounding.
  if (by_width.height == 0 || by_height.width == 0) refuse(image, expected_area, width_step, height_step);

  const auto distortion = [&](ImageSize size) {
    const double own = static_cast<double>(size.width) / size.height;
    return std::max(ratio / own, own / ratio);
  };
  return distortion(by_width) < distortion(by_height) ? by_width : by_height;
}

CoverCrop cover_crop(ImageSize image, ImageSize target) {
  WAN_CHECK(image.width > 0 && image.height > 0 && target.width > 0 && target.height > 0, kInvalidArgument,
            "[size] expected positive sizes, got {}x{} to {}x{}", image.width, image.height, target.width,
            target.height);
  const double scale = std::max(static_cast<double>(target.width) / image.width,
                                static_cast<double>(target.height) / image.height);
  WAN_CHECK(std::max(image.width, image.height) * scale < 2147483647.0, kInvalidArgument,
            "[size] an image of {}x{} cannot cover {}x{}; crop it to a less extreme aspect ratio",
            image.width, image.height, target.width, target.height);
  const ImageSize resized{round_half_even(image.width * scale), round_half_even(image.height * scale)};
  return {resized, (resized.width - target.width) / 2, (resized.height - target.height) / 2};
}

ImageSize size_within_area(ImageSize image, std::int64_t largest_area, int step) {
  check_request(image, largest_area, step, step);
  const double width = image.width;
  const double height = image.height;
  const auto most = static_cast<double>(largest_area);
  double largest = 1.0;
  double least = 0.1;
  if (std::int64_t{image.width} * image.height > largest_area) {
    // From the scale that would fit without rounding up to the one that fits with the most of it.
    const double d = step - 1;
    const double a = width * height;
    const double b = d * (height + width);
    const double c = d * d - most;
    least = (-b + std::sqrt(b * b - 2 * a * c)) / (2 * a);
    largest = std::sqrt(most / a);
  }
  const auto up = [step](double side) { return (static_cast<int>(side) + step - 1) / step * step; };
  constexpr int kSteps = 100;
  for (int i = 0; i < kSteps; ++i) {
    const double scale = largest - (largest - least) * i / kSteps;
    const ImageSize size{up(width * scale), up(height * scale)};
    if (size.width > 0 && size.height > 0 && std::int64_t{size.width} * size.height <= largest_area)
      return size;
  }
  const double aspect = width / height;
  const auto down = [step](double side) { return static_cast<int>(floor_divide(side, step)) * step; };
  ImageSize size{down(std::pow(most * aspect, 0.5)), down(std::pow(most / aspect, 0.5))};
  if (size.width >= image.width || size.height >= image.height)
    size = {image.width / step * step, image.height / step * step};
  if (size.width == 0 || size.height == 0) refuse(image, largest_area, step, step);
  return size;
}

ImageSize short_side_size(ImageSize image, int side) {
  WAN_CHECK(image.width > 0 && image.height > 0 && side > 0, kInvalidArgument,
            "[size] expected positive sizes, got {}x{} to {}", image.width, image.height, side);
  const int shorter = std::min(image.width, image.height);
  const std::int64_t longer = std::int64_t{side} * std::max(image.width, image.height) / shorter;
  constexpr std::int64_t kMost = 1 << 20;
  WAN_CHECK(longer <= kMost, kInvalidArgument,
            "[size] an image of {}x{} cannot become {} on its short side; crop it to a less extreme aspect "
            "ratio",
            image.width, image.height, side);
  return image.width <= image.height ? ImageSize{side, static_cast<int>(longer)}
                                     : ImageSize{static_cast<int>(longer), side};
}

CenterCrop center_crop(ImageSize image, ImageSize target) {
  CenterCrop place;
  // Padded on both sides, the odd line behind; what is longer loses lines, their half rounded to even.
  const auto along = [&](int has, int wanted, int& padding, int& first) {
    place.pads = place.pads || has < wanted;
    padding = std::max(0, (wanted - has) / 2);
    first = has > wanted ? round_half_even((has - wanted) / 2.0) : 0;
  };
  along(image.width, target.width, place.left, place.x);
  along(image.height, target.height, place.top, place.y);
  return place;
}

}  // namespace wan
