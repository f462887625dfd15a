#pragma once
// WanTransformer: the diffusion transformer. Weights and a forward pass that predicts the velocity of a noisy latent.

#include <optional>
#include <string>
#include <vector>

#include "models/wan/animate/motion_encoder.h"
#include "models/wan/block.h"
#include "models/wan/conditioning.h"
#include "weights/block_residency.h"

namespace wan {

/// A guidance branch of a forward pass: which text it attends to, what else it depends on, and where its prediction goes.
struct GuidanceBranch {
  TextContext* context;
  const Conditioning* conditioning;
  TensorView velocity;  // [out_dim, F, H, W] f32, contiguous; filled on every rank
};

struct WanForwardInput {
  TensorView latent;                  // [out_dim, F, H, W] f32, contiguous, the same on every rank
  std::span<const double> timesteps;  // one a modulation row of the layout, 0 to 1000
  const TokenLayout& layout;          // video tokens first, in patch-grid order
  TensorView rope;                    // make_rope_table(layout)
};

class WanTransformer {
 public:
  /// `weights` is the scope of one expert, `folder` holds its config.json. Loads everything but the blocks, which the
  /// residency holds; missing and mis-shaped tensors go into the scope's report. `tap_prefix` begins tap names.
  WanTransformer(const WanConfig& config, const WeightScope& weights, BlockResidency& residency, int group,
                 DType compute, std::string tap_prefix);

  const WanConfig& config() const { return config_; }
  const WanTransformerWeights& weights() const { return *weights_; }
  /// Of an animation model.
  const MotionEncoder& motion_encoder() const { return *motion_encoder_; }
  /// Begins the names of taps.
  const std::string& tap_prefix() const { return tap_prefix_; }
  /// Of the blocks' activations.
  DType compute_dtype() const { return compute_; }

  /// Each block's feed-forward, the widest of its activations, goes through the tokens in so many parts from now on. Each row
  /// is the same sum, which a library may add in another order for another number of rows: for where memory is short.
  void set_feed_forward_pieces(int pieces) { feed_forward_pieces_ = pieces; }

  /// Embeds a prompt: encoded [n, text_dim] f32 on the backend's device, n <= text_len. Rows past n count as zeros.
  void embed_text(ExecContext& ctx, const TensorView& encoded, TextContext& context) const;

  /// [n, head_dim / 2, 2] for this rank's n tokens.
  Shape rope_shape(const TokenLayout& layout) const;
  /// Rotary table of them, f32, on the device; the same for every step and expert.
  Tensor make_rope_table(ExecContext& ctx, const TokenLayout& layout) const;

  /// Predicts every branch's velocity; the branches share each acquired block. Nothing is allocated from the second
  /// call with the same shapes on.
  void forward(ExecContext& ctx, const WanForwardInput& input,
               std::span<const GuidanceBranch> branches) const;

 private:
  struct TimeModulation;
  TimeModulation embed_timesteps(ExecContext& ctx, const WanForwardInput& input) const;
  void embed_tokens(ExecContext& ctx, const WanForwardInput& input, const Conditioning& conditioning,
                    const TensorView& x) const;
  void predict(ExecContext& ctx, const WanForwardInput& input, const TensorView& x, const TensorView& time,
               const TensorView& normed, const GuidanceBranch& branch) const;

  WanConfig config_;
  BlockResidency& residency_;
  int group_;
  DType compute_;
  int feed_forward_pieces_ = 1;
  std::string tap_prefix_;
  LoadedWeights<WanTransformerWeights> weights_;
  std::optional<MotionEncoder> motion_encoder_;
};

}  // namespace wan
