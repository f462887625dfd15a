#include "models/qwen/picture.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"

namespace wan {

namespace {

// CLIP's, which the official preprocessor_config.json has.
constexpr std::array<float, 3> kMean{0.48145466f, 0.4578275f, 0.40821073f};
constexpr std::array<float, 3> kDeviation{0.26862954f, 0.26130258f, 0.27577711f};

/// Writes one patch: channel by channel, frame by frame (a still is the same in all), row by row.
void write_patch(const RgbPixels& pixels, const QwenVisionConfig& config, std::int64_t row,
                 std::int64_t column, float* to) {
  const std::int64_t patch = config.patch;
  for (std::int64_t c = 0; c < 3; ++c)
    for (std::int64_t t = 0; t < config.frames; ++t)
      for (std::int64_t y = 0; y < patch; ++y) {
        const std::uint8_t* from = pixels.data + ((row * patch + y) * pixels.width + column * patch) * 3 + c;
        for (std::int64_t x = 0; x < patch; ++x) {
          const auto channel = static_cast<std::size_t>(c);
          const float level = static_cast<float>(static_cast<double>(from[x * 3]) * (1.0 / 255.0));
          *to++ = (level - kMean[channel]) / kDeviation[channel];
        }
      }
}

}  // namespace

PictureSize fit_picture(const PictureSize& size, std::int64_t factor, std::int64_t least, std::int64_t most) {
  const auto [shorter, longer] = std::minmax(size.width, size.height);
  WAN_CHECK(shorter > 0 && longer <= 200 * shorter, kInvalidArgument,
            "`image` is {}x{}: a language model that sees takes pictures at most 200 times as long as wide",
            size.width, size.height);
  const auto width = static_cast<double>(size.width);
  const auto height = static_cast<double>(size.height);
  const auto unit = static_cast<double>(factor);
  // Halves to the even one, as Python rounds.
  const auto nearest = [&](double length) {
    return std::max(factor, static_cast<std::int64_t>(std::nearbyint(length / unit)) * factor);
  };
  PictureSize fitted{nearest(width), nearest(height)};
  const std::int64_t pixels = fitted.width * fitted.height;
  if (pixels > most) {
    const double shrink = std::sqrt(width * height / static_cast<double>(most));
    const auto whole = [&](double length) {
      return std::max(factor, static_cast<std::int64_t>(std::floor(length / shrink / unit)) * factor);
    };
    fitted = {whole(width), whole(height)};
  } else if (pixels < least) {
    const double stretch = std::sqrt(static_cast<double>(least) / (width * height));
    const auto whole = [&](double length) {
      return static_cast<std::int64_t>(std::ceil(length * stretch / unit)) * factor;
    };
    fitted = {whole(width), whole(height)};
  }
  return fitted;
}

PicturePatches cut_picture(const RgbPixels& pixels, const QwenVisionConfig& config) {
  const std::int64_t merge = config.merge;
  const std::int64_t rows = pixels.height / (config.patch * merge);
  const std::int64_t columns = pixels.width / (config.patch * merge);
  WAN_CHECK(rows > 0 && columns > 0 && rows * config.patch * merge == pixels.height &&
                columns * config.patch * merge == pixels.width,
            kInternal, "[qwen] a picture of {}x{} has no whole patches", pixels.width, pixels.height);
  const std::int64_t side = config.window / (config.patch * merge);  // of a window, in merged patches
  PicturePatches result{
      .rows = rows,
      .columns = columns,
      .pixels = Tensor(DType::kF32, {rows * columns * merge * merge, config.patch_values()}),
      .positions = {},
      .window_ends = {},
      .merged_in_order = std::vector<std::int64_t>(static_cast<std::size_t>(rows * columns))};
  float* to = result.pixels.as<float>();
  std::int64_t place = 0;
  const auto add_merged = [&](std::int64_t row, std::int64_t column) {
    result.merged_in_order[static_cast<std::size_t>(row * columns + column)] = place++;
    for (std::int64_t y = row * merge; y < (row + 1) * merge; ++y)
      for (std::int64_t x = column * merge; x < (column + 1) * merge; ++x) {
        write_patch(pixels, config, y, x, to);
        to += config.patch_values();
        result.positions.push_back({0, y, x});
      }
  };
  for (std::int64_t top = 0; top < rows; top += side)
    for (std::int64_t left = 0; left < columns; left += side) {
      for (std::int64_t row = top; row < std::min(top + side, rows); ++row)
        for (std::int64_t column = left; column < std::min(left + side, columns); ++column)
          add_merged(row, column);
      result.window_ends.push_back(place * merge * merge);
    }
  return result;
}

}  // namespace wan
