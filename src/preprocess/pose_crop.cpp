#include "preprocess/pose_crop.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace wan {

namespace {

constexpr double kMean[3] = {0.485, 0.456, 0.406};
constexpr double kDeviation[3] = {0.229, 0.224, 0.225};

/// Whole pixels of the frame, perhaps outside of it.
struct Corners {
  long left, top, right, bottom;
};

/// The official code inverts a matrix that takes the region to the input, with the longer scale of both.
Corners corners_of(const PoseRegion& region, int width, int height) {
  const double aspect = height / static_cast<double>(width);
  const double tall = 200.0 * (std::max(region.width, region.height) / 200.0), wide = tall / aspect;
  const double x_scale = width / wide, y_scale = height / tall;
  const double x_shift = width * (-region.centre_x / wide + 0.5);
  const double y_shift = height * (-region.centre_y / tall + 0.5);
  const double x_step = 1.0 / x_scale, y_step = 1.0 / y_scale;
  const double x_first = -x_shift * x_step, y_first = -y_shift * y_step;
  return {std::lrint(x_first), std::lrint(y_first), std::lrint(width * x_step + x_first),
          std::lrint(height * y_step + y_first)};
}

/// Of a row or column of the result: the two that it lies between, and the second one's weight.
struct Neighbours {
  long first, second;
  float weight;
};

std::vector<Neighbours> neighbours_of(long in, int out) {
  const double scale = 1.0 / (static_cast<double>(out) / static_cast<double>(in));
  std::vector<Neighbours> all;
  for (int i = 0; i < out; ++i) {
    auto at = static_cast<float>((i + 0.5) * scale - 0.5);
    const long first = static_cast<long>(std::floor(at));
    at -= static_cast<float>(first);
    all.push_back({std::clamp(first, 0L, in - 1), std::clamp(first + 1, 0L, in - 1), at});
  }
  return all;
}

}  // namespace

PoseRegion pose_region(const PersonBox& box, int frame_width, int frame_height, int width, int height) {
  constexpr double kLeastSide = 10;
  constexpr double kRoom = 1.25;
  const bool whole = !(box.score > 0) || box.width() < kLeastSide || box.height() < kLeastSide;
  const PersonBox used = whole ? PersonBox{.right = static_cast<double>(frame_width),
                                           .bottom = static_cast<double>(frame_height)}
                               : box;
  const double aspect = height / static_cast<double>(width);
  const double size = std::max(used.width() * aspect, used.height());
  // Scales are in units of 200 pixels officially.
  return {.centre_x = (used.left + used.right) / 2.0,
          .centre_y = (used.top + used.bottom) / 2.0,
          .width = size / aspect / 200.0 * kRoom * 200.0,
          .height = size / 200.0 * kRoom * 200.0};
}

std::vector<float> pose_input(const Image& frame, const PoseRegion& region, int width, int height,
                              PoseChannels channels) {
  const Corners at = corners_of(region, width, height);
  const long in_width = at.right - at.left, in_height = at.bottom - at.top;
  WAN_CHECK(in_width > 0 && in_height > 0, kInternal, "[pose] a region of {}x{} pixels", in_width, in_height);
  const std::vector<Neighbours> columns = neighbours_of(in_width, width),
                                rows = neighbours_of(in_height, height);
  const auto level = [&](long x, long y, int channel) {
    x += at.left;
    y += at.top;
    const bool inside = x >= 0 && x < frame.width && y >= 0 && y < frame.height;
    return inside ? static_cast<float>(frame.row(static_cast<int>(y))[3 * x + channel]) : 0.0f;
  };
  const auto pixels = static_cast<std::size_t>(width) * static_cast<std::size_t>(height);
  std::vector<float> values(3 * pixels);
  for (std::size_t plane = 0; plane < 3; ++plane) {
    const int channel = static_cast<int>(channels == PoseChannels::kBgr ? 2 - plane : plane);
    float* out = values.data() + plane * pixels;
    for (const Neighbours& row : rows)
      for (const Neighbours& column : columns) {
        const auto across = [&](long y) {
          return level(column.first, y, channel) * (1.0f - column.weight) +
                 level(column.second, y, channel) * column.weight;
        };
        const float value = across(row.first) * (1.0f - row.weight) + across(row.second) * row.weight;
        *out++ = static_cast<float>((static_cast<double>(value / 255.0f) - kMean[plane]) / kDeviation[plane]);
      }
  }
  return values;
}

}  // namespace wan
