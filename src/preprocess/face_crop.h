#pragma once
// The face of a frame.

#include <optional>

#include "media/image.h"
#include "preprocess/pose.h"

namespace wan {

/// Pixels of the frame; right and bottom are not part of it.
struct FaceBox {
  int left, right, top, bottom;
};

/// Round all points of the face, whatever their scores are, 1.3 times their area in their own shape, more of it above. Nothing where no pixel of the frame is in it, as of a
/// face that is turned away.
std::optional<FaceBox> face_box(const Pose& pose);

/// The box, stretched to a square of `side` pixels.
Image face_picture(const Image& frame, const FaceBox& box, int side);

}  // namespace wan
