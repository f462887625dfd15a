#include "preprocess/heatmaps.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "base/error.h"

namespace wan {

namespace {

constexpr int kReach = 5;  // of the Gaussian to each side
using Gaussian = std::array<float, 2 * kReach + 1>;

Gaussian gaussian() {
  constexpr double kSigma = 2;
  double sum = 0;
  std::array<double, 2 * kReach + 1> exact{};
  for (int i = -kReach; i <= kReach; ++i) {
    const double value = std::exp(-0.5 * i * i / (kSigma * kSigma));
    exact[static_cast<std::size_t>(i + kReach)] = value;
    sum += value;
  }
  Gaussian result;
  std::ranges::transform(exact, result.begin(),
                         [&](double value) { return static_cast<float>(value / sum); });
  return result;
}

struct BlurredMap {
  std::vector<float> values;
  float scale;  // gives it the maximum that it had before
};

/// The map blurred with zeros round it.
BlurredMap blurred_map(std::span<const float> map, int width, int height) {
  static const Gaussian weights = gaussian();
  // Rows, then columns, of maps with zeros round them.
  const auto columns = static_cast<std::size_t>(width), rows = static_cast<std::size_t>(height);
  std::vector<float> padded(columns + 2 * kReach), blurred(map.size());
  std::vector<float> across((rows + 2 * kReach) * columns);
  for (std::size_t y = 0; y < rows; ++y) {
    std::ranges::copy(map.subspan(y * columns, columns), padded.begin() + kReach);
    float* const out = across.data() + (y + kReach) * columns;
    for (std::size_t k = 0; k < weights.size(); ++k)
      for (std::size_t x = 0; x < columns; ++x) out[x] += weights[k] * padded[x + k];
  }
  for (std::size_t y = 0; y < rows; ++y)
    for (std::size_t k = 0; k < weights.size(); ++k)
      for (std::size_t x = 0; x < columns; ++x)
        blurred[y * columns + x] += weights[k] * across[(y + k) * columns + x];
  const float scale = *std::ranges::max_element(map) / *std::ranges::max_element(blurred);
  return {std::move(blurred), scale};
}

/// One Newton step from (x, y) to where the slope of the blurred map's logarithm is zero; nothing near the border or where that is flat.
void refine(std::span<const float> map, int width, int height, float& x, float& y) {
  const int column = static_cast<int>(x), row = static_cast<int>(y);
  if (column <= 1 || column >= width - 2 || row <= 1 || row >= height - 2) return;
  const BlurredMap blurred = blurred_map(map, width, height);
  const auto at = [&](int right, int down) {
    const float value = blurred.values[static_cast<std::size_t>((row + down) * width + column + right)];
    return std::log(std::max(value * blurred.scale, 1e-10f));
  };
  const float dx = 0.5f * (at(1, 0) - at(-1, 0)), dy = 0.5f * (at(0, 1) - at(0, -1));
  const float dxx = 0.25f * (at(2, 0) - 2 * at(0, 0) + at(-2, 0));
  const float dxy = 0.25f * (at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1));
  const float dyy = 0.25f * (at(0, 2) - 2 * at(0, 0) + at(0, -2));
  const float flatness = dxx * dyy - dxy * dxy;
  if (!(flatness != 0)) return;
  const double determinant = static_cast<double>(dxx) * dyy - static_cast<double>(dxy) * dxy;
  x += static_cast<float>(-(static_cast<double>(dyy) * dx - static_cast<double>(dxy) * dy) / determinant);
  y += static_cast<float>(-(static_cast<double>(dxx) * dy - static_cast<double>(dxy) * dx) / determinant);
}

}  // namespace

std::vector<PosePoint> decode_heatmaps(std::span<const float> heatmaps, int points, int width, int height,
                                       const PoseRegion& region) {
  const auto pixels = static_cast<std::size_t>(width) * static_cast<std::size_t>(height);
  WAN_CHECK(heatmaps.size() == static_cast<std::size_t>(points) * pixels && pixels > 0, kInternal,
            "[heatmaps] {} values for {} maps of {}x{}", heatmaps.size(), points, width, height);
  const double x_scale = region.width / width, y_scale = region.height / height;
  std::vector<PosePoint> result;
  for (int point = 0; point < points; ++point) {
    const std::span<const float> map = heatmaps.subspan(static_cast<std::size_t>(point) * pixels, pixels);
    const auto highest = std::ranges::max_element(map);
    float x = -1, y = -1;
    if (*highest > 0) {
      const auto index = static_cast<int>(highest - map.begin());
      x = static_cast<float>(index % width);
      const int row = index / width;
      y = static_cast<float>(row);
      refine(map, width, height, x, y);
    }
    result.push_back({static_cast<float>(x * x_scale + region.centre_x - region.width * 0.5),
                      static_cast<float>(y * y_scale + region.centre_y - region.height * 0.5), *highest});
  }
  return result;
}

}  // namespace wan
