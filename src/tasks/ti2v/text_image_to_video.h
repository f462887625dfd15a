#pragma once
// Text and image to video (TI2V-5B): where an image is given, its latent is the video's first latent frame and is never noisy.

#include "tasks/task.h"

namespace wan {

class TextImageToVideo final : public Task {
 public:
  TextImageToVideo();
  /// wan/configs/wan_ti2v_5B.py of the official code, and the size that its README names: generate.py's own default,
  /// 1280*720, is none of this model's.
  ModelDefaults defaults() const override;
  WanConfig published_transformer() const override;
  /// The best of the sizes round the image's shape that lie within the area.
  VideoSize size_from_image(const Image& image, const VideoSize& area, const VaeGeometry& vae,
                            const PatchSize& patch) const override;
  /// The given first latent frame: [z, 1, h, w].
  Shape condition_shape(const VaeGeometry& vae, const Shape& latent) const override;
  /// The image is resized (Lanczos) until it covers the video's size and cropped at its middle.
  void run(Run& run, const RunInputs& inputs) const override;
};

}  // namespace wan
