#pragma once
// The wav2vec 2.0 audio encoder: samples of speech to the hidden states of every layer.

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "models/wav2vec2/weights.h"
#include "ops/exec_context.h"
#include "weights/block_residency.h"

namespace wan {

class Wav2Vec2 {
 public:
  /// `weights` is the folder's checkpoint (model.safetensors) seen from its top. What comes before the layers is loaded here,
  /// f32 on the target's device; layers come from the residency's `group`, of wav2vec2_block_layout().
  Wav2Vec2(const Wav2Vec2Config& config, const WeightScope& weights, BlockResidency& residency, int group,
           std::string tap_prefix);

  const Wav2Vec2Config& config() const { return config_; }
  /// The residency's blocks in the order in which a pass acquires them.
  std::vector<BlockId> schedule() const;

  /// Shown each hidden state in turn, [T, dim] f32 on the device, valid until it returns: 0, what enters the first layer, with
  /// positions; 1 to L - 1, the residual stream after that layer; L, the same after the last, normalized.
  using StateVisitor = std::function<void(std::int64_t index, const TensorView& state)>;
  /// `samples` of 16 kHz mono, as read_speech() gives them, not yet normalized; T = config().states(samples), at least 1. All of
  /// them in one pass, in memory that grows with T and not with its square. Throws InvalidArgument for a sound that is too short,
  /// Cancelled.
  void encode(ExecContext& ctx, std::span<const float> samples, const StateVisitor& visit) const;

  /// All of them on the host: [L + 1, T, dim] f32.
  Tensor hidden_states(ExecContext& ctx, std::span<const float> samples) const;

  /// The samples with mean 0 and variance 1 over the whole sound, in fp32 (NumPy's sums): what enters the first convolution.
  std::vector<float> normalized(std::span<const float> samples) const;

 private:
  Wav2Vec2Config config_;
  BlockResidency& residency_;
  int group_;
  std::string tap_prefix_;
  LoadedWeights<Wav2Vec2OuterWeights> weights_;
  std::vector<Convolution1d> convolutions_;
  PositionalConvolution positions_;
};

}  // namespace wan
