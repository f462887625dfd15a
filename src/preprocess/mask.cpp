#include "preprocess/mask.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace wan {

namespace {

constexpr int kMost = 1000;

/// Per row or column of `mask` the most of `first` to `last` places beside each.
void spread(Mask& mask, bool across, int first, int last) {
  const int along = across ? mask.width : mask.height, lines = across ? mask.height : mask.width;
  const auto step = static_cast<std::size_t>(across ? 1 : mask.width);
  const auto next_line = static_cast<std::size_t>(across ? mask.width : 1);
  std::vector<int> before(static_cast<std::size_t>(along) + 1);
  for (int line = 0; line < lines; ++line) {
    std::uint8_t* const levels = mask.levels.data() + static_cast<std::size_t>(line) * next_line;
    for (std::size_t i = 0; i < static_cast<std::size_t>(along); ++i)
      before[i + 1] = before[i] + (levels[i * step] != 0 ? 1 : 0);
    for (int i = 0; i < along; ++i) {
      const auto begin = static_cast<std::size_t>(std::clamp(i + first, 0, along));
      const auto end = static_cast<std::size_t>(std::clamp(i + last + 1, 0, along));
      levels[static_cast<std::size_t>(i) * step] = before[end] > before[begin] ? 1 : 0;
    }
  }
}

}  // namespace

bool Mask::is_empty() const {
  return std::ranges::all_of(levels, [](std::uint8_t level) { return level == 0; });
}

void check_mask_shape(const MaskShape& shape) {
  WAN_CHECK(shape.iterations >= 0 && shape.iterations <= kMost, kInvalidArgument,
            "`iterations` {}: expected 0 to {}", shape.iterations, kMost);
  WAN_CHECK(shape.k >= 1 && shape.k <= kMost, kInvalidArgument, "`k` {}: expected 1 to {}", shape.k, kMost);
  WAN_CHECK(shape.w_len >= 1 && shape.w_len <= kMost, kInvalidArgument, "`w_len` {}: expected 1 to {}",
            shape.w_len, kMost);
  WAN_CHECK(shape.h_len >= 1 && shape.h_len <= kMost, kInvalidArgument, "`h_len` {}: expected 1 to {}",
            shape.h_len, kMost);
}

Mask widened(const Mask& mask, int k, int iterations) {
  Mask result = mask;
  // Squares one after another are a larger one.
  const int before = k / 2 * iterations, after = (k - 1 - k / 2) * iterations;
  spread(result, /*across=*/true, -before, after);
  spread(result, /*across=*/false, -before, after);
  return result;
}

void fill_blocks(Mask& mask, int w_len, int h_len) {
  int left = mask.width, right = -1, top = mask.height, bottom = -1;
  const auto level = [&](int x, int y) -> std::uint8_t& {
    return mask.levels[static_cast<std::size_t>(y) * static_cast<std::size_t>(mask.width) +
                       static_cast<std::size_t>(x)];
  };
  for (int y = 0; y < mask.height; ++y)
    for (int x = 0; x < mask.width; ++x) {
      if (level(x, y) == 0) continue;
      left = std::min(left, x);
      right = std::max(right, x);
      top = std::min(top, y);
      bottom = std::max(bottom, y);
    }
  const int block_width = (right - left) / w_len, block_height = (bottom - top) / h_len;
  if (right < left || block_width == 0 || block_height == 0) return;
  for (int x = left; x < right; x += block_width)
    for (int y = top; y < bottom; y += block_height) {
      const int end_x = std::min(x + block_width, right), end_y = std::min(y + block_height, bottom);
      bool any = false;
      for (int row = y; row < end_y && !any; ++row)
        for (int column = x; column < end_x && !any; ++column) any = level(column, row) != 0;
      for (int row = y; row < end_y && any; ++row)
        std::fill(&level(x, row), &level(x, row) + (end_x - x), std::uint8_t{1});
    }
}

Mask shaped_mask(const Mask& mask, const MaskShape& shape) {
  if (shape.iterations == 0) return mask;
  Mask result = widened(mask, shape.k, shape.iterations);
  fill_blocks(result, shape.w_len, shape.h_len);
  return result;
}

Image background_of(const Image& frame, const Mask& mask) {
  WAN_CHECK(frame.width == mask.width && frame.height == mask.height, kInternal,
            "[mask] {}x{} of a frame of {}x{}", mask.width, mask.height, frame.width, frame.height);
  Image result = frame;
  for (std::size_t i = 0; i < mask.levels.size(); ++i)
    if (mask.levels[i] != 0)
      std::fill_n(result.rgb.begin() + static_cast<std::ptrdiff_t>(3 * i), 3, std::uint8_t{0});
  return result;
}

Image picture_of(const Mask& mask) {
  Image result = make_image(mask.width, mask.height);
  for (std::size_t i = 0; i < result.rgb.size(); ++i) result.rgb[i] = mask.levels[i / 3] != 0 ? 255 : 0;
  return result;
}

std::array<MaskPoint, 8> person_points(const Pose& pose) {
  constexpr std::array<std::size_t, 8> kNames = {0, 1, 2, 5, 8, 11, 10, 13};
  std::array<MaskPoint, 8> points{};
  std::ranges::transform(kNames, points.begin(), [&](std::size_t name) {
    const auto whole = [](double value) {
      constexpr double kFarthest = 1e6;
      return std::isfinite(value) ? static_cast<int>(std::clamp(value, -kFarthest, kFarthest)) : 0;
    };
    const PosePoint& point = pose.body[name];
    return MaskPoint{whole(static_cast<double>(point.x) * pose.width),
                     whole(static_cast<double>(point.y) * pose.height)};
  });
  return points;
}

}  // namespace wan
