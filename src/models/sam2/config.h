#pragma once
// Config: the dimensions of a SAM 2, from its tensors, and what stands in the official configuration files only.

#include <cstdint>
#include <vector>

#include "weights/weight_scope.h"

namespace wan::sam2 {

/// What no tensor's shape tells. The values are the official ones of all sizes, but for the trunk's, which are those of `large`.
struct Settings {
  std::int64_t image_size = 1024;  // pixels of a side, a multiple of 32
  std::int64_t first_heads = 2;    // of the trunk's first stage; each further stage has twice as many
  std::vector<std::int64_t> windows = {8, 4, 16, 8};       // of each stage: tokens of a side
  std::vector<std::int64_t> global_blocks = {23, 33, 43};  // whose attention is over the whole picture
  std::int64_t decoder_heads = 8;
  std::int64_t memory_heads = 1;
  std::int64_t most_pointers = 16;  // object pointers that a frame attends to
  std::int64_t chunk_frames = 400;  // of a video, each segmented from nothing
  std::int64_t hole_area = 8;       // pixels of a low-resolution mask's hole that is filled, at most
  float stability_delta = 0.05f;
  float stability_threshold = 0.98f;
};

/// One block of the trunk.
struct BlockConfig {
  std::int64_t in, out, hidden;  // channels; hidden of the feed-forward
  std::int64_t heads;
  std::int64_t window;  // tokens of a side, 0: the whole picture
  bool halves;          // the picture's sides
};

struct Config {
  Settings settings;
  // The image encoder.
  std::vector<BlockConfig> blocks;
  std::vector<int> stage_ends;               // each stage's last block
  std::int64_t position_grid;                // tokens of a side of the stored position embedding
  std::int64_t position_window;              // and of that which is repeated
  std::vector<std::int64_t> stage_channels;  // first stage first
  std::int64_t dim;                          // channels of all that follows the trunk
  // Memory.
  std::int64_t memory_layers, memory_hidden, memory_dim;
  std::int64_t memories;  // frames that a frame attends to: key frames, and `memories` - 1 before it
  std::vector<std::int64_t>
      mask_channels;  // of the mask's convolutions, each of which halves: 1, 4, 16, 64, 256
  std::int64_t fuser_layers, fuser_kernel, fuser_hidden;
  // The mask decoder.
  std::int64_t decoder_layers, decoder_hidden, decoder_inner, mask_tokens;
  std::int64_t quality_hidden, quality_layers;

  /// Tokens of a side of the pictures that follow the trunk: of the tokens that memories are of.
  std::int64_t grid() const { return settings.image_size / 16; }
  /// Pixels of a side of a mask before it is enlarged.
  std::int64_t mask_size() const { return settings.image_size / 4; }
};

/// `top` is the whole checkpoint's scope. The trunk's settings are those of the published size that it has. Throws Unsupported for SAM 2.1 and
/// for a trunk of no published size, BadFile for tensors that make no SAM 2.
Config read_config(const WeightScope& top);

/// The same with given settings: for models of other sizes.
Config read_config(const WeightScope& top, const Settings& settings);

}  // namespace wan::sam2
