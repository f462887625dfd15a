#pragma once
// What tasks share whose videos are made clip after clip.

#include "pipeline/input_images.h"
#include "pipeline/run.h"

namespace wan {

/// Tells which clip begins, where there are several, and gives the dump's names its number.
void begin_clip(const Run& run);

/// How many passes a step has.
int guidance_branches(const RunContext& run);

/// Latents [z, frames, h, w] f32 on the device, as large as a clip's.
Tensor clip_latents(const Run& run, std::int64_t frames);

/// [count, H, W, 3] f32 as the video's frames lie in the host's memory.
Tensor host_frames(const RunContext& run, std::int64_t count);

/// Encodes `count` frames that `fill` writes on the first rank, whose last latents, as many as `into` [z, F, h, w] has, go there. Dumps the
/// frames and these latents under these names, where there is a dump.
void encode_frames(const Run& run, std::int64_t count, const FillFrame& fill, const TensorView& into,
                   const char* frames_name, const char* latents_name);

/// Dumps `count` frames of the host as `name`, where there is a dump.
void dump_clip(const RunContext& run, const char* name, std::int64_t count, const FillFrame& fill);

}  // namespace wan
