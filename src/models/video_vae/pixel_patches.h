#pragma once
// Square patches of pixels, which the convolutions of some VAEs see as one pixel of more channels.

#include "tensor/tensor.h"

namespace wan {

/// Channels of a patch of patch x patch RGB pixels.
constexpr std::int64_t patch_channels(int patch) {
  return std::int64_t{3} * patch * patch;
}

/// Shape [T, H / patch, W / patch, channels] of the patches of frames [T, H, W, 3].
Shape patched_shape(const Shape& frames, int patch);

/// Frames [T, H, W, 3] contiguous, and their patches [T, h, w, 3 patch patch] contiguous, as views of one shape
/// [T, h, w, 3, patch, patch] to copy between. A patch's channel is (colour * patch + column) * patch + row: the order
/// of patchify in Wan-Video/Wan2.2, wan/modules/vae2_2.py.
TensorView patches_of_frames(const TensorView& frames, int patch);
TensorView split_patches(const TensorView& patches, int patch);

}  // namespace wan
