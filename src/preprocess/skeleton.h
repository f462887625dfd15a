#pragma once
// The drawn skeleton that the transformer is given.

#include <array>
#include <span>

#include "media/image.h"
#include "preprocess/pose.h"

namespace wan {

/// A point to draw, in pixels of the picture.
struct SkeletonPoint {
  double x = 0;
  double y = 0;
  double score = 0;
};

struct Skeleton {
  std::array<SkeletonPoint, 20> body{};
  std::array<SkeletonPoint, 21> left_hand{};
  std::array<SkeletonPoint, 21> right_hand{};
};

/// The pose in its frame's pixels.
Skeleton skeleton_of(const Pose& pose);

/// Bones of the body, as numbers of Pose::body, in the order in which they are drawn and lengthened: from the neck outwards.
inline constexpr std::array<std::array<int, 2>, 19> kBones = {{{1, 2},
                                                               {1, 5},
                                                               {2, 3},
                                                               {3, 4},
                                                               {5, 6},
                                                               {6, 7},
                                                               {1, 8},
                                                               {8, 9},
                                                               {9, 10},
                                                               {1, 11},
                                                               {11, 12},
                                                               {12, 13},
                                                               {1, 0},
                                                               {0, 14},
                                                               {14, 16},
                                                               {0, 15},
                                                               {15, 17},
                                                               {13, 18},
                                                               {10, 19}}};

/// On black: what of the body and the hands has a score of 0.5 or more.
Image draw_skeleton(const Skeleton& skeleton, int width, int height);

}  // namespace wan
