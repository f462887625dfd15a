#include "preprocess/pose.h"

#include <algorithm>

#include "base/error.h"

namespace wan {

namespace {

/// Each point of the body is the mean of these two.
constexpr std::array<int, 20> kFirst = {0, 6, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3, 17, 20};
constexpr std::array<int, 20> kSecond = {0, 5, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3, 18, 21};
constexpr int kFace = 23, kLeftHand = 91, kRightHand = 112;

}  // namespace

Pose group_points(std::span<const PosePoint> points, int width, int height) {
  WAN_CHECK(points.size() == kBodyPoints, kInvalidArgument, "[pose] {} points, expected {}", points.size(),
            kBodyPoints);
  Pose pose{.width = width, .height = height};
  const auto part_of_frame = [&](int index) {
    const PosePoint& point = points[static_cast<std::size_t>(index)];
    return PosePoint{point.x / static_cast<float>(width), point.y / static_cast<float>(height), point.score};
  };
  for (std::size_t i = 0; i < pose.body.size(); ++i) {
    const PosePoint a = part_of_frame(kFirst[i]), b = part_of_frame(kSecond[i]);
    pose.body[i] = {(a.x + b.x) / 2, (a.y + b.y) / 2, (a.score + b.score) / 2};
  }
  const auto copy = [&](auto& group, int first) {
    for (PosePoint& point : group) point = part_of_frame(first++);
  };
  copy(pose.face, kFace);
  copy(pose.left_hand, kLeftHand);
  copy(pose.right_hand, kRightHand);
  return pose;
}

bool is_outside(const Pose& pose) {
  return std::ranges::all_of(pose.body,
                             [](const PosePoint& point) { return std::min(point.x, point.y) < 0; });
}

}  // namespace wan
