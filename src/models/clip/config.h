#pragma once
// ClipConfig: the dimensions of CLIP's image tower, from its tensors.

#include <cstdint>

#include "weights/weight_scope.h"

namespace wan {

struct ClipConfig {
  /// ViT-H/14's, which stand in no file.
  static constexpr std::int64_t kHeads = 16;
  static constexpr float kEps = 1e-5f;

  std::int64_t dim;
  std::int64_t dim_ffn;
  std::int64_t num_layers;  // that are run: all but the checkpoint's last one
  std::int64_t patch;       // pixels of a patch's side
  std::int64_t grid;        // patches of a picture's side

  std::int64_t head_dim() const { return dim / kHeads; }
  std::int64_t image_size() const { return patch * grid; }
  /// One for the whole picture, and one a patch.
  std::int64_t tokens() const { return 1 + grid * grid; }
};

/// The published checkpoints'.
ClipConfig published_clip_config();

/// `visual` is the scope of the tower. Throws BadFile for tensors that make none.
ClipConfig clip_config(const WeightScope& visual);

}  // namespace wan
