#pragma once
// The picture of an animation's character as the official pipeline takes it, and pixels as its models do.

#include <span>

#include "media/image.h"
#include "models/clip/config.h"
#include "tensor/tensor.h"
#include "wan/request.h"

namespace wan {

/// The picture in the video's size, whole, with black beside it.
Image fit_character(const Image& picture, const VideoSize& size);

/// level / 127.5 - 1, of each.
void to_model_range(std::span<const std::uint8_t> levels, std::span<float> values);

/// What the image tower gets of a picture: [3, size, size] f32 on the host, without regard to its shape.
Tensor clip_pixels(const Image& picture, const ClipConfig& config);

}  // namespace wan
