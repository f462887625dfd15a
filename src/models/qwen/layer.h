#pragma once
// QwenLayer: one layer of the language model: causal self-attention over the tokens so far, gated feed-forward.

#include <string>

#include "models/qwen/key_value_cache.h"
#include "models/qwen/weights.h"
#include "ops/exec_context.h"

namespace wan {

/// Scratch of a layer, taken once a pass. n = the pass' tokens. Where no dtype is given, that of activations.
struct QwenActivations {
  TensorView normed;    // [n, dim]
  TensorView query;     // [n, query_dim]
  TensorView attended;  // [n, query_dim]
  TensorView branch;    // [n, dim] f32: what the next norm adds to the residual stream
  TensorView gate;      // [n, dim_ffn]
  TensorView hidden;    // [n, dim_ffn]
};

/// Takes the scratch out of the workspace, inside the caller's scope.
QwenActivations take_activations(Workspace& workspace, const QwenConfig& config, std::int64_t tokens,
                                 DType dtype);

/// What all layers of a pass share.
struct QwenPass {
  const QwenConfig& config;
  TensorView rope_table;  // [n, head_dim / 2, 2] f32 on the device
  KeyValueCache& cache;   // whose tokens are those before this pass
  QwenActivations scratch;
};

/// Borrows the pass and the memory of the weights.
class QwenLayer {
 public:
  QwenLayer(const QwenPass& pass, std::int64_t index, const QwenLayerWeights& weights);

  /// x [n, dim] f32, changed in place: by the feed-forward of the layer before, by attention, and by the last layer's own feed-forward.
  /// Writes the tokens' keys and values into the cache, behind those that it counts.
  void run(ExecContext& ctx, const TensorView& x) const;

 private:
  /// scratch.normed -> scratch.branch.
  void self_attention(ExecContext& ctx) const;
  void feed_forward(ExecContext& ctx) const;

  const QwenPass& pass_;
  std::int64_t index_;
  QwenLayerWeights weights_;
};

}  // namespace wan
