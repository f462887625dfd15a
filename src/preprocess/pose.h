#pragma once
// Pose: a person's points in a frame, as the official preprocessing groups them.

#include <array>
#include <span>

#include "preprocess/heatmaps.h"

namespace wan {

/// Points of a whole body: COCO-WholeBody's.
inline constexpr int kBodyPoints = 133;

/// Coordinates are parts of the frame's width and height, and may lie outside of 0 to 1.
struct Pose {
  int width = 0;  // of the frame
  int height = 0;
  /// Nose, neck, right shoulder, elbow, wrist, left shoulder, elbow, wrist, right hip, knee, ankle, left hip, knee, ankle, right eye, left eye, right
  /// ear, left ear, left toe, right toe.
  std::array<PosePoint, 20> body{};
  std::array<PosePoint, 21> left_hand{};
  std::array<PosePoint, 21> right_hand{};
  std::array<PosePoint, 68> face{};
};

/// The groups of `points` in pixels. Throws InvalidArgument unless there are kBodyPoints.
Pose group_points(std::span<const PosePoint> points, int width, int height);

/// Whether every point of the body has a coordinate below 0: the person is not to be seen, and the official code shows the body of the frame before.
bool is_outside(const Pose& pose);

}  // namespace wan
