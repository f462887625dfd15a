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
  /// `top` is the folder's checkpoint (model.safetensors) seen from its top. What comes before and after the layers is loaded
  /// here, f32 on the target's device; layers come from the residency's `group`: wav2vec2_scope() and wav2vec2_block_layout().
  Wav2Vec2(const Wav2Vec2Config& config, const WeightScope& top, BlockResidency& residency, int group,
           std::string tap_prefix);

  const Wav2Vec2Config& config() const { return config_; }
  /// The residency's blocks in the order in which a pass acquires them.
  std::vector<BlockId> schedule() const;
  /// Hidden states of a pass: one a layer and one more.
  std::int64_t state_count() const { return config_.num_layers + 1; }

  /// Shown each hidden state in turn, [T, dim] f32 on the device, valid until it returns: 0, what enters the first layer, with
  /// positions; 1 to layers - 1, the residual stream after so many layers; the last, what is after all of them, normalized.
  using StateVisitor = std::function<void(std::int64_t index, const TensorView& state)>;
  /// `samples` are 16 kHz mono, as read_speech() gives them; T = config().states(samples.size()). One pass over all of them, in
  /// memory that grows with T and not with its square. Throws InvalidArgument for a sound without a state, Cancelled.
  void encode(ExecContext& ctx, std::span<const float> samples, const StateVisitor& visit) const;
  /// The same pass over so many samples that nobody has, for a backend that computes nothing.
  void rehearse(ExecContext& ctx, std::int64_t samples) const;

 private:
  /// Fills `to` [n] on the device with the normalized samples from `first` on.
  using SampleSource = std::function<void(std::int64_t first, const TensorView& to)>;

  void run(ExecContext& ctx, std::int64_t samples, const SampleSource& source,
           const StateVisitor& visit) const;
  /// The convolutions' features, [T, channels] into `features`, some at a time.
  void extract(ExecContext& ctx, const SampleSource& source, const TensorView& features) const;
  /// One piece of them, from its samples [n].
  void extract_piece(ExecContext& ctx, const TensorView& samples, const TensorView& features) const;
  /// x [T, dim] += the positional convolution of x.
  void add_positions(ExecContext& ctx, const TensorView& x) const;

  Wav2Vec2Config config_;
  BlockResidency& residency_;
  int group_;
  std::string tap_prefix_;
  LoadedWeights<Wav2Vec2OuterWeights> weights_;
  std::vector<Convolution1d> convolutions_;
  PositionalConvolution positions_;
};

/// Samples with mean 0 and variance 1 over the whole sound: (x - mean) / sqrt(variance + 1e-7).
std::vector<float> normalize_speech(std::span<const float> samples);

}  // namespace wan
