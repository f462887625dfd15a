#pragma once
// AudioInjector: after the listed blocks each frame of the video attends to the tokens of its own sound.

#include "models/wan/conditioning.h"
#include "models/wan/s2v/audio_encoder.h"

namespace wan {

/// Of one clip and guidance branch. A rank's share of the tokens needs nothing of the others'.
class AudioInjector final : public BlockStage {
 public:
  /// `frame_tokens`: the video's in a latent frame. `tap_prefix` begins its taps' names. Borrows the config.
  AudioInjector(const WanConfig& config, AudioTokens tokens, std::int64_t frame_tokens, DType compute,
                std::string tap_prefix);

  bool runs_after(int block) const override { return place_of(block) >= 0; }
  void run(ExecContext& ctx, const BlockEnd& end, const TensorView& x) override;

 private:
  /// What of the sound does not change between steps.
  struct Entry {
    Tensor key, value;  // [F tokens, heads, head_dim], of the compute dtype; the key after its norm
    Tensor modulation;  // [F, 2 dim] f32: shift, scale
  };

  /// Among the listed blocks; -1: not listed.
  int place_of(int block) const;
  /// Fills the entry on its first use.
  const Entry& project(ExecContext& ctx, int place, const AudioInjectorWeights& weights);
  /// Rows [first, first + n) of the video: x -> normed.
  void norm(ExecContext& ctx, const Entry& entry, Range rows, const TensorView& x,
            const TensorView& normed) const;

  const WanConfig& config_;
  AudioTokens tokens_;
  std::int64_t frame_tokens_;
  DType compute_;
  std::string tap_prefix_;
  std::vector<Entry> entries_;  // by place
};

}  // namespace wan
