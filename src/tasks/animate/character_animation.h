#pragma once
// Character animation (Animate-14B): a person in a picture moves as another one does in a video, alone or in that one's place, clip after
// clip. Each clip has the picture, the poses and faces of its frames, the frames before it, and where someone is replaced what is round it.

#include "tasks/task.h"

namespace wan {

class CharacterAnimation final : public Task {
 public:
  CharacterAnimation();
  /// wan/configs/wan_animate_14B.py of the official code. `frame_num` is that of a clip, `fps` the official file's.
  ModelDefaults defaults() const override;
  WanConfig published_transformer() const override;
  /// Mask and known latents.
  std::int64_t condition_channels(const VaeGeometry& vae) const override;
  /// AnimateChannels: [4 + z + z + 1, F, h, w].
  Shape condition_shape(const VaeGeometry& vae, const Shape& latent) const override;
  /// The picture has a latent frame of its own before the clip's.
  std::int64_t segment_latents(const VaeGeometry& vae, int frames) const override;
  std::int64_t decoded_latents(std::int64_t segment) const override;
  void run(Run& run, const RunInputs& inputs) const override;
};

}  // namespace wan
