#pragma once
// ClipVision: CLIP's image tower as the official code takes it for images beside the text: what enters its last layer.

#include <string>
#include <vector>

#include "models/clip/weights.h"
#include "ops/exec_context.h"
#include "weights/block_residency.h"

namespace wan {

class ClipVision {
 public:
  /// `visual` is the scope of the tower. What comes before the layers is loaded here, f32 on the target's device; layers come from the
  /// residency's `group`: clip_block_layout().
  ClipVision(const ClipConfig& config, const WeightScope& visual, BlockResidency& residency, int group,
             std::string tap_prefix);

  const ClipConfig& config() const { return config_; }
  /// The residency's blocks in the order in which a pass acquires them.
  std::vector<BlockId> schedule() const;

  /// pixels [3, size, size] f32 on the device, as normalize_clip_image() leaves them -> tokens [config().tokens(), dim] f32.
  void encode(ExecContext& ctx, const TensorView& pixels, const TensorView& tokens) const;

 private:
  void embed(ExecContext& ctx, const TensorView& pixels, const TensorView& tokens) const;
  void run_layer(ExecContext& ctx, const ClipLayerWeights& weights, const TensorView& x) const;

  ClipConfig config_;
  BlockResidency& residency_;
  int group_;
  std::string tap_prefix_;
  LoadedWeights<ClipOuterWeights> weights_;
};

/// In place, pixels [3, size, size] in [-1, 1] to what the tower was trained with: to [0, 1], less CLIP's mean, by its deviation.
void normalize_clip_image(const TensorView& pixels);

}  // namespace wan
