#pragma once
// Image to video (I2V-A14B): given frames and a mask that says which are given go into the transformers beside the noisy
// latent, along channels. The first frame is given, the last one, or both.

#include "tasks/task.h"

namespace wan {

class ImageToVideo final : public Task {
 public:
  ImageToVideo();
  /// wan/configs/wan_i2v_A14B.py of the official code.
  ModelDefaults defaults() const override;
  WanConfig published_transformer() const override;
  std::int64_t condition_channels(const VaeGeometry& vae) const override;
  /// The image's shape, and about the area.
  VideoSize size_from_image(const Image& image, const VideoSize& area, const VaeGeometry& vae,
                            const PatchSize& patch) const override;
  /// The mask of each latent's frames, then the latents of the clip whose frames are zero where they are not given:
  /// [temporal stride + z, F, h, w].
  Shape condition_shape(const VaeGeometry& vae, const Shape& latent) const override;
  /// Images are resized to the video's size, which the first one's shape has determined; a last image of another shape is
  /// cropped at its middle.
  void run(Run& run, const RunInputs& inputs) const override;
};

}  // namespace wan
