#pragma once
// Middle: residual block, attention, residual block, at the lowest resolution of an encoder or a decoder.

#include <string>

#include "models/video_vae/attention_block.h"
#include "models/video_vae/residual_block.h"

namespace wan {

class Middle {
 public:
  Middle(const WeightScope& scope, std::int64_t channels);

  /// x [T, H, W, C], in place.
  void forward(ExecContext& ctx, StreamState& state, const TensorView& x) const;

 private:
  std::string name_;  // begins the layers' tap names: "vae.decoder.middle"
  ResidualBlock first_;
  AttentionBlock attention_;
  ResidualBlock last_;
};

}  // namespace wan
