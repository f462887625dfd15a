#pragma once
// VaeLevels: widths and strides of a VAE's resolutions, which the official layout keeps in code and not in its files.

#include <vector>

#include "models/video_vae.h"
#include "weights/weight_scope.h"

namespace wan {

/// Full resolution first.
struct VaeLevels {
  static constexpr int kMost = 8;  // a stride of 128

  std::vector<std::int64_t> multipliers;  // channels of each level in units of the first one's
  int res_blocks = 0;                     // of each level of the encoder; the decoder has one more
  std::vector<bool> halves_time;          // between levels i and i + 1, going down

  int count() const { return static_cast<int>(multipliers.size()); }
  int temporal_stride() const;
  int spatial_stride() const { return 1 << (count() - 1); }
};

/// A VAE's file, for messages.
struct VaeFile {
  const char* model;  // "vae21": begins a message
  const char* name;   // "Wan2.1_VAE.pth": what to use instead of a file that is not one
};

/// The shape of a tensor that tells a dimension. Throws BadFile where there is none of this rank.
Shape require_shape(const WeightScope& scope, const VaeFile& file, const char* name, int rank);

/// One more than the largest N of tensors "N...." in the scope (a layer may lack any one tensor and is still seen, so
/// that the report names just that one); at most 1000.
int count_layers(const WeightScope& scope);

/// From which tensors the layers of "encoder.downsamples" have, in the order in which they are walked: residual blocks,
/// and a resampling layer after each level but the last. Throws BadFile where they make no levels. Tensors that
/// contradict one another are left to the report of the weights that the model then asks for.
VaeLevels read_levels(const std::vector<WeightScope>& layers, const VaeFile& file, std::int64_t dim);

}  // namespace wan
