#pragma once
// What a Qwen2.5-VL model sees of a picture: its size, its patches, and where each of them is.

#include <cstdint>
#include <vector>

#include "models/qwen/config.h"
#include "models/qwen/qwen_model.h"

namespace wan {

/// 8-bit RGB [height, width, 3], whose owner keeps it.
struct RgbPixels {
  const std::uint8_t* data;
  std::int64_t width, height;
};

struct PictureSize {
  std::int64_t width, height;
  friend bool operator==(const PictureSize&, const PictureSize&) = default;
};

/// The nearest size of whole merged patches (`factor` pixels a side) with `least` to `most` pixels, as the official code finds it. Throws
/// InvalidArgument for a picture more than 200 times as long as wide.
PictureSize fit_picture(const PictureSize& size, std::int64_t factor, std::int64_t least, std::int64_t most);

/// A picture cut into patches, in the order in which the tower computes: window after window, in each row after row of merged patches, and
/// of each of those its patches.
struct PicturePatches {
  std::int64_t rows, columns;  // of merged patches
  Tensor pixels;               // [patches, channels x frames x patch x patch] f32 on the host, normalized
  std::vector<QwenPosition> positions;    // of each patch: its row and column
  std::vector<std::int64_t> window_ends;  // patches up to the end of each window
  std::vector<std::int64_t>
      merged_in_order;  // of each merged patch, row after row: its place in the tower's order
};

/// `pixels` has a size of fit_picture().
PicturePatches cut_picture(const RgbPixels& pixels, const QwenVisionConfig& config);

}  // namespace wan
