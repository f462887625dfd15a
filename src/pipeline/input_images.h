#pragma once
// InputImages: the images that a video is made from, and what the tasks that take them share.

#include <functional>
#include <optional>

#include "media/image.h"
#include "models/video_vae.h"
#include "settings/run_context.h"

namespace wan {

/// Upright RGB images of any size.
struct InputImages {
  std::optional<Image> first;  // of the video
  std::optional<Image> last;
};

/// Pixels [height, width, 3] f32 in [-1, 1] on the host.
Tensor frame_of(const Image& image);

/// Dumps a frame [height, width, 3] f32 of the host as [3, height, width].
void dump_frame(const RunContext& run, const char* name, const Tensor& frame);

/// Encodes a clip into `latents` [z, F, h, w] on the device, as the phase "image". `fill` writes the clip's frame
/// `index` [H, W, 3] f32 on the host.
using FillFrame = std::function<void(std::int64_t index, std::span<float> pixels)>;
void encode_clip(const RunContext& run, const VideoVae& vae, const VaePlan& plan, const FillFrame& fill,
                 const TensorView& latents);

}  // namespace wan
