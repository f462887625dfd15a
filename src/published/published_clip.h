#pragma once
// The clip that a task's images become, and a sound, by the published models' shapes.

#include <optional>

#include "models/video_vae/plan.h"
#include "tasks/task.h"

namespace wan {

/// Of a video of these latents [z, F, h, w] that begins with a picture where the task needs one or `image` says so; nothing for one that
/// does not.
std::optional<LatentExtent> published_clip(const Task& task, bool image, const Shape& latent);

/// A minute of sound, of a task that takes it, in clips of so many frames; otherwise nothing, and one clip.
struct PublishedSound {
  int clips = 1;
  std::int64_t samples = 0;
};
PublishedSound published_sound(const Task& task, int clip_frames);

}  // namespace wan
