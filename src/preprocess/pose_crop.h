#pragma once
// A person's part of a frame, as the pose network is given it.

#include <array>
#include <vector>

#include "media/image.h"
#include "preprocess/detection.h"

namespace wan {

/// Where the network's input lies in the frame, before it is rounded to pixels.
struct PoseRegion {
  double centre_x, centre_y;
  double width, height;
};

/// The person with a quarter more round it, in the shape of `width` x `height`; of the whole frame where nobody was found or the box has a side below 10 pixels.
PoseRegion pose_region(const PersonBox& box, int frame_width, int frame_height, int width, int height);

/// In which order channels are given to the pose network. The official code means RGB and swaps once too often.
enum class PoseChannels { kBgr, kRgb };

/// The region's pixels, black outside of the frame, linear to `width` x `height`, as [3, height, width] less ImageNet's means, by its deviations (both in RGB's order,
/// whatever the order of channels is).
std::vector<float> pose_input(const Image& frame, const PoseRegion& region, int width, int height,
                              PoseChannels channels);

}  // namespace wan
