#pragma once
// Pictures as the official pipeline brings them to the video's size: the short side becomes the video's, what is left over is cut off,
// and what is missing is filled up.

#include "media/image.h"
#include "tensor/tensor.h"
#include "wan/request.h"

namespace wan {

/// The picture of the person: 8-bit bilinear resizing, black where it is too short. [height, width, 3] f32 in [-1, 1] on the host.
Tensor reference_frame(const Image& image, const VideoSize& size);
/// Whether there is such black.
bool pads_reference(const Image& image, const VideoSize& size);

/// A frame of poses: resizing of floats, grey (0) where it is too short.
Tensor pose_frame(const Image& image, const VideoSize& size);

}  // namespace wan
