#pragma once
// Latents to frames to the output, group by group: the encoder works while the VAE decodes the next group.

#include "media/frame_sink.h"
#include "models/video_vae.h"
#include "pipeline/run_context.h"

namespace wan {

/// Decodes latents [z, F, h, w] f32 into `output`, which stays open: later segments go on with it. Throws Internal
/// where the VAE gives values that are not finite, and what the output throws.
void decode_into(const RunContext& run, const VideoVae& vae, const VaePlan& plan, const TensorView& latents,
                 FrameSink& output);

}  // namespace wan
