#pragma once
// Text and image to video (TI2V-5B): the image's latent is the video's first latent frame and is never noisy.

#include "pipeline/input_images.h"
#include "pipeline/single_segment.h"

namespace wan {

/// The given first latent frame of a clip with latents [z, F, h, w]: [z, 1, h, w].
Shape first_frame_shape(const Shape& latent);

/// As make_single_segment_video. The image is resized (Lanczos) until it covers the video's size and cropped at its
/// middle. `resumed` needs none.
void text_image_to_video(const RunContext& run, const PipelineModels& models, const VaePlan& encode_plan,
                         const VaePlan& decode_plan, const Shape& latent, const InputImages& images,
                         const VideoOutput& output, const SavedLatents* resumed);

}  // namespace wan
