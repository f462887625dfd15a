#include "models/sam2/masks.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace wan::sam2 {

namespace {

/// Two neighbouring values and their weights.
struct LinearTap {
  std::int64_t first, second;
  float first_weight, second_weight;
};

std::vector<LinearTap> linear_taps(std::int64_t from, std::int64_t to) {
  const float scale = static_cast<float>(from) / static_cast<float>(to);
  std::vector<LinearTap> taps(static_cast<std::size_t>(to));
  for (std::int64_t i = 0; i < to; ++i) {
    const float position = std::max(scale * (static_cast<float>(i) + 0.5f) - 0.5f, 0.0f);
    const auto first = std::min(static_cast<std::int64_t>(position), from - 1);
    const float weight = std::clamp(position - static_cast<float>(first), 0.0f, 1.0f);
    taps[static_cast<std::size_t>(i)] = {first, std::min(first + 1, from - 1), 1.0f - weight, weight};
  }
  return taps;
}

/// each(y, row) for every row of [size, size] enlarged to [height, width].
template <typename Each>
void enlarge(std::span<const float> logits, std::int64_t size, std::int64_t width, std::int64_t height,
             Each&& each) {
  const std::vector<LinearTap> columns = linear_taps(size, width);
  const std::vector<LinearTap> rows = linear_taps(size, height);
  // Two rows at their new width, kept from one row of the result to the next.
  std::vector<float> upper(static_cast<std::size_t>(width)), lower(upper.size()), row(upper.size());
  std::int64_t upper_row = -1, lower_row = -1;
  const auto widen = [&](std::int64_t y, std::vector<float>& to) {
    const float* const from = logits.data() + y * size;
    for (std::size_t x = 0; x < to.size(); ++x)
      to[x] = from[columns[x].first] * columns[x].first_weight +
              from[columns[x].second] * columns[x].second_weight;
  };
  for (std::int64_t y = 0; y < height; ++y) {
    const LinearTap& tap = rows[static_cast<std::size_t>(y)];
    if (tap.first == lower_row) {
      std::swap(upper, lower);
      std::swap(upper_row, lower_row);
    }
    if (tap.first != upper_row) widen(upper_row = tap.first, upper);
    if (tap.second != lower_row) widen(lower_row = tap.second, lower);
    for (std::size_t x = 0; x < row.size(); ++x)
      row[x] = upper[x] * tap.first_weight + lower[x] * tap.second_weight;
    each(y, std::span<const float>(row));
  }
}

}  // namespace

float stability(std::span<const float> logits, float delta) {
  const auto above = [&](float least) {
    return static_cast<float>(std::ranges::count_if(logits, [&](float value) { return value > least; }));
  };
  const float all = above(-delta);
  return all > 0.0f ? above(delta) / all : 1.0f;
}

void fill_holes(std::span<float> logits, std::int64_t size, std::int64_t area) {
  constexpr float kFilled = 0.1f;
  std::vector<char> seen(logits.size(), 0);
  std::vector<std::int64_t> part;  // its pixels
  for (std::int64_t start = 0; start < size * size; ++start) {
    if (seen[static_cast<std::size_t>(start)] != 0 || !(logits[static_cast<std::size_t>(start)] <= 0.0f))
      continue;
    part.assign(1, start);
    seen[static_cast<std::size_t>(start)] = 1;
    for (std::size_t next = 0; next < part.size(); ++next) {
      const std::int64_t y = part[next] / size, x = part[next] % size;
      for (std::int64_t b = std::max<std::int64_t>(y - 1, 0); b <= std::min(y + 1, size - 1); ++b)
        for (std::int64_t a = std::max<std::int64_t>(x - 1, 0); a <= std::min(x + 1, size - 1); ++a) {
          const auto at = static_cast<std::size_t>(b * size + a);
          if (seen[at] != 0 || !(logits[at] <= 0.0f)) continue;
          seen[at] = 1;
          part.push_back(b * size + a);
        }
    }
    if (static_cast<std::int64_t>(part.size()) > area) continue;
    for (const std::int64_t pixel : part) logits[static_cast<std::size_t>(pixel)] = kFilled;
  }
}

void threshold(std::span<const float> logits, std::int64_t size, std::int64_t width, std::int64_t height,
               std::span<std::uint8_t> mask) {
  enlarge(logits, size, width, height, [&](std::int64_t y, std::span<const float> row) {
    std::ranges::transform(row, mask.begin() + y * width,
                           [](float value) { return static_cast<std::uint8_t>(value > 0.0f); });
  });
}

void to_remember(std::span<const float> logits, std::int64_t size, std::int64_t side, bool binary,
                 std::span<float> out) {
  constexpr float kScale = 20.0f, kShift = -10.0f;
  enlarge(logits, size, side, side, [&](std::int64_t y, std::span<const float> row) {
    std::ranges::transform(row, out.begin() + y * side, [&](float value) {
      const float share = binary ? (value > 0.0f ? 1.0f : 0.0f) : 1.0f / (1.0f + std::exp(-value));
      return share * kScale + kShift;
    });
  });
}

}  // namespace wan::sam2
