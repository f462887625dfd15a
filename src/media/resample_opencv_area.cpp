#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "media/resample.h"

namespace wan {

namespace {

/// A row or column of the image that a row or column of the result has a share of.
struct Share {
  int from;
  int to;
  float weight;
};

/// Of each row or column of the result all shares, in order.
std::vector<Share> shares_of(int in, int out) {
  const double scale = 1.0 / (static_cast<double>(out) / in);
  constexpr double kLeast = 1e-3;  // a smaller part of a pixel is none
  std::vector<Share> shares;
  for (int to = 0; to < out; ++to) {
    const double begin = to * scale, end = begin + scale;
    const double covered = std::min(scale, in - begin);
    const int last = std::min(static_cast<int>(std::floor(end)), in - 1);
    const int first = std::min(static_cast<int>(std::ceil(begin)), last);
    if (first - begin > kLeast)
      shares.push_back({first - 1, to, static_cast<float>((first - begin) / covered)});
    for (int from = first; from < last; ++from)
      shares.push_back({from, to, static_cast<float>(1.0 / covered)});
    if (end - last > kLeast)
      shares.push_back({last, to, static_cast<float>(std::min({end - last, 1.0, covered}) / covered)});
  }
  return shares;
}

std::uint8_t to_level(float value) {
  return static_cast<std::uint8_t>(std::clamp(std::lrint(value), 0L, 255L));
}

/// The means of blocks of `across` x `down` pixels.
Image mean_of_blocks(const Image& image, int across, int down) {
  Image out = make_image(image.width / across, image.height / down);
  const float share = 1.0f / static_cast<float>(across * down);
  for (int y = 0; y < out.height; ++y)
    for (int x = 0; x < out.width * 3; ++x) {
      int sum = 0;
      for (int row = 0; row < down; ++row)
        for (int column = 0; column < across; ++column)
          sum += image.row(y * down + row)[(x / 3 * across + column) * 3 + x % 3];
      // Of four the half is rounded up, of others to even.
      out.row(y)[x] = across == 2 && down == 2 ? static_cast<std::uint8_t>((sum + 2) >> 2)
                                               : to_level(static_cast<float>(sum) * share);
    }
  return out;
}

}  // namespace

Image resize_opencv_area(const Image& image, int width, int height) {
  WAN_CHECK(width > 0 && height > 0 && width <= image.width && height <= image.height, kInvalidArgument,
            "[resize] expected sizes up to {}x{}, got {}x{}", image.width, image.height, width, height);
  if (width == image.width && height == image.height) return image;
  if (image.width % width == 0 && image.height % height == 0)
    return mean_of_blocks(image, image.width / width, image.height / height);
  Image out = make_image(width, height);
  const std::vector<Share> columns = shares_of(image.width, width), rows = shares_of(image.height, height);
  const auto values = static_cast<std::size_t>(width) * 3;
  std::vector<float> across(values), sum(values);
  int row = 0;
  const auto finish_row = [&] { std::ranges::transform(sum, out.row(row), to_level); };
  for (const Share& down : rows) {
    std::ranges::fill(across, 0.0f);
    const std::uint8_t* const levels = image.row(down.from);
    for (const Share& share : columns)
      for (int channel = 0; channel < 3; ++channel)
        across[static_cast<std::size_t>(share.to * 3 + channel)] +=
            static_cast<float>(levels[share.from * 3 + channel]) * share.weight;
    if (down.to != row) {
      finish_row();
      std::ranges::fill(sum, 0.0f);
      row = down.to;
    }
    for (std::size_t i = 0; i < values; ++i) sum[i] += down.weight * across[i];
  }
  finish_row();
  return out;
}

}  // namespace wan
