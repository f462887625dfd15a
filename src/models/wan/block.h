#pragma once
// WanBlock: one transformer block of Wan: self-attention, cross-attention to the text, feed-forward, modulated by the timestep.

#include <string>

#include "models/wan/image_context.h"
#include "models/wan/weights.h"
#include "nn/token_layout.h"
#include "ops/exec_context.h"

namespace wan {

/// Scratch of a block, taken once a forward pass, of which some lies where another has been used. n = local tokens.
struct WanActivations {
  TensorView normed;    // [n, dim] compute dtype
  TensorView query;     // [n, dim] compute dtype
  TensorView key;       // [n, dim] compute dtype
  TensorView value;     // [n, dim] compute dtype
  TensorView attended;  // [n, dim] compute dtype, in normed's memory
  TensorView branch;    // [n, dim] compute dtype, in query's: what attention adds to the residual stream
  TensorView
      hidden;  // [up to n, ffn_dim] compute dtype, in query's, key's and value's: the feed-forward goes through so many rows at a time
  TensorView fed;         // [n, dim] compute dtype, in normed's: what the feed-forward adds
  TensorView modulation;  // [runs, 6, dim] f32: this block's, of each run of tokens
};

/// Takes the scratch out of the workspace, inside the caller's scope.
/// The feed-forward goes through the tokens in so many pieces.
WanActivations take_activations(Workspace& workspace, const WanConfig& config, const TokenLayout& layout,
                                DType compute, int feed_forward_pieces = 1);

/// What all blocks of a forward pass share.
struct WanPass {
  const WanConfig& config;
  const TokenLayout& layout;
  TensorView rope;             // [n, head_dim / 2, 2] f32
  TensorView time_modulation;  // [runs, 6, dim] f32: time_projection's output, a row a run of tokens
  WanActivations scratch;
};

/// A branch of a block is x += gate * branch(norm(x) * (1 + scale) + shift), a row a run of tokens.
struct Modulation {
  TensorView shift, scale, gate;  // [runs, dim] f32
};

/// Borrows the pass and the memory of the weights.
class WanBlock {
 public:
  /// `index` is the block's place in a TextContext; `name` begins its taps.
  WanBlock(const WanPass& pass, const WanBlockWeights& weights, int index, std::string name);

  /// x [n, dim] f32, changed in place. Fills text.blocks[index], and the image's, on its first use; `image` is nullptr where the model
  /// attends to none.
  void run(ExecContext& ctx, TextContext& text, ImageContext* image, const TensorView& x) const;

 private:
  struct Modulations {
    Modulation attention, feed_forward;
  };
  /// The block's own and the timestep's, summed.
  Modulations modulations(ExecContext& ctx) const;
  /// x -> scratch.normed.
  void norm(ExecContext& ctx, const TensorView& x, const Modulation& modulation) const;
  void cross_norm(ExecContext& ctx, const TensorView& x) const;
  /// scratch.normed -> scratch.branch, and of the feed-forward -> scratch.fed.
  void self_attention(ExecContext& ctx) const;
  void cross_attention(ExecContext& ctx, const TextContext::BlockEntry& text, const TensorView& key_bias,
                       const TextContext::BlockEntry* image) const;
  /// scratch.query attends to the keys -> out.
  void attend(ExecContext& ctx, const TextContext::BlockEntry& to, const TensorView& key_bias,
              const TensorView& out) const;
  void feed_forward(ExecContext& ctx) const;
  /// RMS norm over all heads together, then rotary positions; rows [n, dim] in place.
  void norm_and_rotate(ExecContext& ctx, const TensorView& rows, const TensorView& weight) const;
  /// Keys and values of the text, which do not change between steps.
  const TextContext::BlockEntry& project_text(ExecContext& ctx, TextContext& text) const;
  const TextContext::BlockEntry& project_image(ExecContext& ctx, ImageContext& image) const;
  /// Keys and values of `embedded` [rows, dim].
  struct Projection {
    const Linear& key;
    const TensorView& norm_key;
    const Linear& value;
  };
  TextContext::BlockEntry project(ExecContext& ctx, const TensorView& embedded,
                                  const Projection& projection) const;
  /// [rows, dim] -> [rows, heads, head_dim].
  TensorView as_heads(const TensorView& rows) const;

  const WanPass& pass_;
  WanBlockWeights weights_;
  int index_;
  std::string name_;
};

}  // namespace wan
