#pragma once
// One transformer block of Wan: self-attention, cross-attention to the text, feed-forward, modulated by the timestep.

#include <string>

#include "models/wan/config.h"
#include "models/wan/context_cache.h"
#include "nn/linear.h"
#include "nn/token_layout.h"
#include "ops/exec_context.h"
#include "weights/block_residency.h"

namespace wan {

/// The weights of a block in the order in which block_weights() reads them back.
BlockLayout wan_block_layout(const WanConfig& config);

struct AttentionWeights {
  Linear query, key, value, output;  // [dim, dim]
  TensorView norm_query, norm_key;   // [dim]
};

struct WanBlockWeights {
  TensorView modulation;  // [1, 6, dim] f32
  AttentionWeights self_attention;
  TensorView cross_norm_weight, cross_norm_bias;  // [dim] f32 (norm3)
  AttentionWeights cross_attention;
  Linear ffn_in;   // [ffn_dim, dim]
  Linear ffn_out;  // [dim, ffn_dim]
};

/// Names the views of a lease, which are in wan_block_layout's order.
WanBlockWeights wan_block_weights(std::span<const TensorView> weights);

/// Scratch of a block, taken once a forward pass. n = local tokens.
struct WanActivations {
  TensorView normed;    // [n, dim] compute dtype
  TensorView query;     // [n, dim] compute dtype
  TensorView key;       // [n, dim] compute dtype
  TensorView value;     // [n, dim] compute dtype
  TensorView attended;  // [n, dim] compute dtype
  TensorView branch;    // [n, dim] compute dtype: what is added to the residual stream
  TensorView
      hidden;  // [up to n, ffn_dim] compute dtype: the feed-forward goes through so many rows at a time
  TensorView modulation;  // [runs, 6, dim] f32: this block's shift, scale and gate of each run of tokens
};

/// What of a forward pass decides how much scratch it takes.
struct ActivationSizes {
  std::int64_t tokens;
  std::int64_t runs;
  DType compute;
  int feed_forward_pieces = 1;
};

/// Takes the scratch out of the workspace, inside the caller's scope.
WanActivations take_activations(Workspace& workspace, const WanConfig& config, const ActivationSizes& sizes);

struct WanBlockInput {
  const WanConfig& config;
  const TokenLayout& layout;
  TensorView rope;             // [n, head_dim / 2, 2] f32
  TensorView time_modulation;  // [runs, 6, dim] f32: time_projection's output, a row a run of tokens
};

/// x [n, dim] f32, changed in place. Fills context.blocks[index] on its first use.
void run_wan_block(ExecContext& ctx, const WanBlockInput& input, const WanBlockWeights& weights,
                   const WanActivations& scratch, int index, TextContext& context, const TensorView& x,
                   const std::string& tap_prefix);

}  // namespace wan
