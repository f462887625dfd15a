#pragma once
// Speech to video (S2V-14B): a picture of a person and a sound become a video of the person who speaks, clip after clip. Each clip has
// its frames' sound, the picture, the frames before it, and poses where they are given.

#include "tasks/task.h"

namespace wan {

class SpeechToVideo final : public Task {
 public:
  SpeechToVideo();
  /// wan/configs/wan_s2v_14B.py of the official code. `size` is the largest area, `frame_num` that of a clip.
  ModelDefaults defaults() const override;
  WanConfig published_transformer() const override;
  /// The picture's own, rounded up to multiples of 64, or what of its shape fits into the area.
  VideoSize size_from_image(const Image& image, const VideoSize& area, const VaeGeometry& vae,
                            const PatchSize& patch) const override;
  std::string told_of_image(const Image& image, const VideoSize& size) const override;
  /// Latents of the picture, of the frames before the clip and of its poses, one after another: [z, 1 + 19 + F, h, w], zeros where
  /// there are none.
  Shape condition_shape(const VaeGeometry& vae, const Shape& latent) const override;
  /// With the frames before them.
  std::int64_t decoded_latents(std::int64_t segment) const override;
  std::int64_t segment_latents(const VaeGeometry& vae, int frames) const override;
  void run(Run& run, const RunInputs& inputs) const override;
};

}  // namespace wan
