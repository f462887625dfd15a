#pragma once
// Image to video (I2V-A14B): given frames and a mask that says which are given go into the transformers beside the noisy
// latent, along channels. The first frame is given, the last one, or both.

#include "pipeline/input_images.h"
#include "pipeline/single_segment.h"

namespace wan {

/// Of a clip with latents [z, F, h, w]: the mask of each latent's frames, then the latents of the clip whose frames are
/// zero where they are not given: [temporal stride + z, F, h, w].
Shape image_channels_shape(const VaeGeometry& vae, const Shape& latent);

/// As make_single_segment_video. Images are resized to the video's size, which the first one's shape has determined; a
/// last image of another shape is cropped at its middle. `resumed` needs none.
void image_to_video(const RunContext& run, const PipelineModels& models, const VaePlan& encode_plan,
                    const VaePlan& decode_plan, const Shape& latent, const InputImages& images,
                    const VideoOutput& output, const SavedLatents* resumed);

}  // namespace wan
