#pragma once
// Text to video (T2V-A14B, and TI2V-5B without an image): the order of the steps, and nothing else.

#include "pipeline/single_segment.h"

namespace wan {

/// As make_single_segment_video, of latents [z, F, h, w].
void text_to_video(const RunContext& run, const PipelineModels& models, const VaePlan& decode_plan,
                   const Shape& latent, const VideoOutput& output, const SavedLatents* resumed);

}  // namespace wan
