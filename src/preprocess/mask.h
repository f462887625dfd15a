#pragma once
// The part of a frame that is made anew where a character is replaced.

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "media/image.h"
#include "preprocess/pose.h"

namespace wan {

/// 1 where the person is, 0 elsewhere, [height, width].
struct Mask {
  int width = 0;
  int height = 0;
  std::vector<std::uint8_t> levels;

  bool is_empty() const;
};

struct MaskShape {
  int iterations = 3;  // of widening; 0: the mask as it is, without blocks
  int k = 7;           // side of the square that one widens by
  int w_len = 1;       // blocks across
  int h_len = 1;       // and down
};

/// Throws InvalidArgument, naming the member.
void check_mask_shape(const MaskShape& shape);

/// cv2.dilate() with a square of ones.
Mask widened(const Mask& mask, int k, int iterations);

/// The mask's own box (without its last row and column), cut into blocks, of which those with a pixel of it are filled. A mask too
/// narrow to be cut, where the official code fails, stays
/// as it is, as an empty one does.
void fill_blocks(Mask& mask, int w_len, int h_len);

/// widened() and fill_blocks() as the shape has it.
Mask shaped_mask(const Mask& mask, const MaskShape& shape);

/// The frame, black where the mask is.
Image background_of(const Image& frame, const Mask& mask);
/// White where the mask is.
Image picture_of(const Mask& mask);

/// Frames of a chunk, each of which is segmented for itself.
inline constexpr std::int64_t kSegmentedFrames = 400;

/// In pixels of the frame, rounded towards zero.
struct MaskPoint {
  int x;
  int y;
};

/// Points of the body that name the person to the segmenter: nose, neck, shoulders, hips and ankles, whatever their scores are.
std::array<MaskPoint, 8> person_points(const Pose& pose);

}  // namespace wan
