#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <vector>

#include "base/error.h"
#include "media/resample.h"

namespace wan {

namespace {

// Fraction bits of a weight: 32, less the 8 of a level, less a sign and a bit for sums of weights above 1.
constexpr int kFractionBits = 32 - 8 - 2;

double sinc(double x) {
  if (x == 0.0) return 1.0;
  x *= std::numbers::pi;
  return std::sin(x) / x;
}

/// A filter and how far it reaches from its middle.
struct Filter {
  double (*at)(double x);
  double reach;
};

constexpr double kLobes = 3.0;
double lanczos(double x) {
  return x >= -kLobes && x < kLobes ? sinc(x) * sinc(x / kLobes) : 0.0;
}
constexpr Filter kLanczos{lanczos, kLobes};

double triangle(double x) {
  return std::max(0.0, 1.0 - std::abs(x));
}
constexpr Filter kBilinear{triangle, 1.0};

/// Catmull and Rom's, a = -0.5.
double cubic(double x) {
  constexpr double kA = -0.5;
  x = std::abs(x);
  if (x < 1.0) return ((kA + 2.0) * x - (kA + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * kA;
  return 0.0;
}
constexpr Filter kBicubic{cubic, 2.0};

/// One output position: a weighted sum of neighbouring inputs.
struct Window {
  int first = 0;                      // input index of weights[0]
  std::vector<std::int32_t> weights;  // fixed point, in sum about 1
};

std::vector<Window> windows(const Filter& filter, int in_size, int out_size) {
  const double scale = static_cast<double>(in_size) / out_size;
  const double stretch = std::max(scale, 1.0);  // an enlargement keeps the filter's own width
  const double reach = filter.reach * stretch;
  const double shrink = 1.0 / stretch;
  std::vector<Window> result(static_cast<std::size_t>(out_size));
  std::vector<double> exact;
  for (int i = 0; i < out_size; ++i) {
    Window& window = result[static_cast<std::size_t>(i)];
    const double center = (i + 0.5) * scale;
    // Truncation, not floor: both ends are cut off at the image's edges anyway.
    window.first = std::max(static_cast<int>(center - reach + 0.5), 0);
    const int end = std::min(static_cast<int>(center + reach + 0.5), in_size);
    exact.clear();
    double sum = 0.0;
    for (int x = window.first; x < end; ++x) {
      exact.push_back(filter.at((x - center + 0.5) * shrink));
      sum += exact.back();
    }
    for (const double weight : exact) {
      const double scaled = (sum != 0.0 ? weight / sum : weight) * (1 << kFractionBits);
      window.weights.push_back(static_cast<std::int32_t>(scaled < 0.0 ? scaled - 0.5 : scaled + 0.5));
    }
  }
  return result;
}

constexpr std::int32_t kHalf = 1 << (kFractionBits - 1);

std::uint8_t from_fixed_point(std::int32_t sum) {
  return static_cast<std::uint8_t>(std::clamp(sum >> kFractionBits, 0, 255));
}

Image resize_rows(const Image& image, const Filter& filter, int width) {
  const std::vector<Window> columns = windows(filter, image.width, width);
  Image result = make_image(width, image.height);
  for (int y = 0; y < image.height; ++y) {
    const std::uint8_t* in = image.row(y);
    std::uint8_t* out = result.row(y);
    for (const Window& window : columns) {
      const std::uint8_t* pixel = in + static_cast<std::size_t>(window.first) * 3;
      std::int32_t red = kHalf;
      std::int32_t green = kHalf;
      std::int32_t blue = kHalf;
      for (const std::int32_t weight : window.weights) {
        red += pixel[0] * weight;
        green += pixel[1] * weight;
        blue += pixel[2] * weight;
        pixel += 3;
      }
      *out++ = from_fixed_point(red);
      *out++ = from_fixed_point(green);
      *out++ = from_fixed_point(blue);
    }
  }
  return result;
}

Image resize_columns(const Image& image, const Filter& filter, int height) {
  const std::vector<Window> rows = windows(filter, image.height, height);
  Image result = make_image(image.width, height);
  std::vector<std::int32_t> sums(image.row_bytes());
  for (int y = 0; y < height; ++y) {
    const Window& window = rows[static_cast<std::size_t>(y)];
    std::fill(sums.begin(), sums.end(), kHalf);
    for (std::size_t k = 0; k < window.weights.size(); ++k) {
      const std::uint8_t* in = image.row(window.first + static_cast<int>(k));
      const std::int32_t weight = window.weights[k];
      for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += in[i] * weight;
    }
    std::transform(sums.begin(), sums.end(), result.row(y), from_fixed_point);
  }
  return result;
}

Image resize(const Image& image, const Filter& filter, int width, int height) {
  WAN_CHECK(width > 0 && height > 0 && image.width > 0 && image.height > 0, kInvalidArgument,
            "[resize] expected positive sizes, got {}x{} to {}x{}", image.width, image.height, width, height);
  if (width == image.width && height == image.height) return image;
  if (width == image.width) return resize_columns(image, filter, height);
  if (height == image.height) return resize_rows(image, filter, width);
  // Pillow 13's order, which shows in the last bit. (Earlier versions always begin with the rows.)
  const std::int64_t lost_width = std::int64_t{image.width} - width;
  const std::int64_t lost_height = std::int64_t{image.height} - height;
  if (lost_height > 0 && lost_height > 2 * lost_width)
    return resize_rows(resize_columns(image, filter, height), filter, width);
  return resize_columns(resize_rows(image, filter, width), filter, height);
}

}  // namespace

Image resize_lanczos(const Image& image, int width, int height) {
  return resize(image, kLanczos, width, height);
}

Image resize_bicubic(const Image& image, int width, int height) {
  return resize(image, kBicubic, width, height);
}

Image resize_bilinear(const Image& image, int width, int height) {
  return resize(image, kBilinear, width, height);
}

}  // namespace wan
