#pragma once
// Umt5Layer: one layer of the text encoder: self-attention with relative positions, gated feed-forward.

#include <string>
#include <vector>

#include "models/umt5/weights.h"
#include "ops/exec_context.h"

namespace wan {

/// RMS norms' epsilon, which is in the official code alone.
constexpr float kUmt5Eps = 1e-6f;

/// Scratch of a layer, in f32, taken once a pass. n = tokens.
struct Umt5Activations {
  TensorView normed;     // [n, dim]
  TensorView query;      // [n, dim_attention]
  TensorView key;        // [n, dim_attention]
  TensorView value;      // [n, dim_attention]
  TensorView attended;   // [n, dim_attention]
  TensorView branch;     // [n, dim]: what is added to the residual stream
  TensorView gate;       // [n, dim_ffn]
  TensorView hidden;     // [n, dim_ffn]
  TensorView bias_rows;  // [2 n - 1, heads]: by relative position, from 1 - n on
  TensorView bias;       // [heads, n, n]
};

/// Takes the scratch out of the workspace, inside the caller's scope.
Umt5Activations take_activations(Workspace& workspace, const Umt5Config& config, std::int64_t tokens);

/// What all layers of a pass share.
struct Umt5Pass {
  const Umt5Config& config;
  std::vector<std::int64_t> buckets;  // relative_buckets() of the tokens
  Umt5Activations scratch;
};

/// Borrows the pass and the memory of the weights.
class Umt5Layer {
 public:
  /// `name` begins its taps.
  Umt5Layer(const Umt5Pass& pass, const Umt5LayerWeights& weights, std::string name);

  /// x [n, dim] f32, changed in place.
  void run(ExecContext& ctx, const TensorView& x) const;

 private:
  /// x -> scratch.normed.
  void norm(ExecContext& ctx, const TensorView& x, const TensorView& weight) const;
  /// scratch.normed -> scratch.branch.
  void self_attention(ExecContext& ctx) const;
  void feed_forward(ExecContext& ctx) const;
  /// scratch.bias from the tokens' relative positions.
  void fill_bias(ExecContext& ctx) const;
  /// [n, dim_attention] -> [n, heads, head_dim].
  TensorView as_heads(const TensorView& rows) const;

  const Umt5Pass& pass_;
  Umt5LayerWeights weights_;
  std::string name_;
};

/// Bucket of a relative position (key minus query), 0 to num_buckets - 1: half of them a direction, exact for small
/// distances, logarithmic up to 128. (T5, arXiv 1910.10683, section 2.1.)
std::int64_t relative_position_bucket(std::int64_t relative, std::int64_t num_buckets);

/// The buckets of the relative positions of `tokens` tokens: from 1 - tokens on, 2 tokens - 1 of them.
std::vector<std::int64_t> relative_buckets(std::int64_t tokens, std::int64_t num_buckets);

}  // namespace wan
