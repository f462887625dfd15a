#pragma once
// FaceFuser: after some blocks each latent frame attends to the tokens of its own face: the official face_adapter.

#include "models/wan/animate/weights.h"
#include "models/wan/conditioning.h"

namespace wan {

/// Of one clip and guidance branch. A rank's share of the tokens needs nothing of the others'.
class FaceFuser final : public BlockStage {
 public:
  /// `tokens` are encode_face()'s; `frame_tokens`: of a latent frame. `tap_prefix` begins its taps' names. Borrows the config.
  FaceFuser(const WanConfig& config, Tensor tokens, std::int64_t frame_tokens, DType compute,
            std::string tap_prefix);

  const Tensor& tokens() const { return tokens_; }
  bool runs_after(int block) const override { return face_block_after(config_, block) >= 0; }
  void run(ExecContext& ctx, const BlockEnd& end, const TensorView& x) override;

 private:
  /// What of the face does not change between steps.
  struct Entry {
    Tensor key, value;  // [F tokens, heads, head_dim], of the compute dtype; the key after its norm
  };
  /// Fills the entry on its first use.
  const Entry& project(ExecContext& ctx, int place, const FaceBlockWeights& weights);

  const WanConfig& config_;
  Tensor tokens_;  // [F, tokens, dim] f32
  std::int64_t frame_tokens_;
  DType compute_;
  std::string tap_prefix_;
  std::vector<Entry> entries_;  // by place
};

}  // namespace wan
