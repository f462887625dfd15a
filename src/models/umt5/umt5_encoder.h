#pragma once
// The umT5 text encoder: token ids to context vectors.

#include <string>
#include <vector>

#include "models/umt5/weights.h"
#include "ops/exec_context.h"
#include "weights/block_residency.h"

namespace wan {

class Umt5Encoder {
 public:
  /// Token embeddings stay in the mapped checkpoint and are read row by row; layers come from the residency.
  Umt5Encoder(const Umt5Config& config, const WeightScope& weights, BlockResidency& residency, int group,
              std::string tap_prefix);

  const Umt5Config& config() const { return config_; }
  BlockResidency& residency() const { return residency_; }
  /// The residency's blocks in the order in which encode() acquires them.
  std::vector<BlockId> schedule() const;

  /// Fills out [ids, dim] f32 on the backend's device. ids are the prompt's own, without padding: the official encoder
  /// pads to 512 and masks the padding out, which leaves these rows the same.
  void encode(ExecContext& ctx, std::span<const std::int64_t> ids, const TensorView& out) const;

 private:
  Umt5Config config_;
  BlockResidency& residency_;
  int group_;
  std::string tap_prefix_;
  LoadedWeights<Umt5EncoderWeights> weights_;
};

}  // namespace wan
