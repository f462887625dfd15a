#include "preprocess/mask.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace wan {

namespace {

constexpr int kMost = 1000;

/// Per row of `mask` the most of `first` to `last` places beside each.
void spread_across(Mask& mask, int first, int last) {
  const auto width = static_cast<std::size_t>(mask.width);
  std::vector<int> before(width + 1);
  for (std::size_t start = 0; start < mask.levels.size(); start += width) {
    std::uint8_t* const levels = mask.levels.data() + start;
    for (std::size_t x = 0; x < width; ++x) before[x + 1] = before[x] + (levels[x] != 0 ? 1 : 0);
    for (int x = 0; x < mask.width; ++x) {
      const auto begin = static_cast<std::size_t>(std::clamp(x + first, 0, mask.width));
      const auto end = static_cast<std::size_t>(std::clamp(x + last + 1, 0, mask.width));
      levels[x] = before[end] > before[begin] ? 1 : 0;
    }
  }
}

/// Likewise per column.
void spread_down(Mask& mask, int first, int last) {
  const auto width = static_cast<std::size_t>(mask.width);
  const auto row = [&](int y) { return mask.levels.data() + static_cast<std::size_t>(y) * width; };
  std::vector<int> counts(width);  // of the rows of `given` that a row of the result has beside it
  const Mask given = mask;
  const auto add = [&](int y, int sign) {
    if (y < 0 || y >= mask.height) return;
    const std::uint8_t* const levels = given.levels.data() + static_cast<std::size_t>(y) * width;
    for (std::size_t x = 0; x < width; ++x) counts[x] += levels[x] != 0 ? sign : 0;
  };
  for (int y = first; y < last; ++y) add(y, 1);
  for (int y = 0; y < mask.height; ++y) {
    add(y + last, 1);
    for (std::size_t x = 0; x < width; ++x) row(y)[x] = counts[x] > 0 ? 1 : 0;
    add(y + first, -1);
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
  spread_across(result, -before, after);
  spread_down(result, -before, after);
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
  auto out = result.rgb.begin();
  for (const std::uint8_t level : mask.levels) out = std::fill_n(out, 3, level != 0 ? 255 : 0);
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
