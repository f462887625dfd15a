#include "models/video_vae/pixel_patches.h"

namespace wan {

Shape patched_shape(const Shape& frames, int patch) {
  return {frames[0], frames[1] / patch, frames[2] / patch, patch_channels(patch)};
}

TensorView patches_of_frames(const TensorView& frames, int patch) {
  return frames.reshape({frames.dim(0), frames.dim(1) / patch, patch, frames.dim(2) / patch, patch, 3})
      .permute({0, 1, 3, 5, 4, 2});
}

TensorView split_patches(const TensorView& patches, int patch) {
  return patches.reshape({patches.dim(0), patches.dim(1), patches.dim(2), 3, patch, patch});
}

}  // namespace wan
