#pragma once
// What the pose network answers, as points of the frame.

#include <span>
#include <vector>

#include "preprocess/pose_crop.h"

namespace wan {

struct PosePoint {
  float x = 0;
  float y = 0;
  float score = 0;
};

/// A point of each heatmap [points, height, width]: the highest value's place, which is its score, moved by one Newton step on the logarithm of the map
/// blurred with sigma 2, in pixels of the frame. Where no value is above 0 the place is (-1, -1) of the map. The region is that of
/// pose_input(), not rounded.
std::vector<PosePoint> decode_heatmaps(std::span<const float> heatmaps, int points, int width, int height,
                                       const PoseRegion& region);

}  // namespace wan
