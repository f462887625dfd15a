#pragma once
// Wav2Vec2Layer: one layer of the audio encoder: self-attention and feed-forward, each behind its norm.

#include <string>

#include "models/wav2vec2/weights.h"
#include "ops/exec_context.h"

namespace wan {

/// Scratch of a layer, in f32, taken once a pass. n = states.
struct Wav2Vec2Activations {
  TensorView normed;    // [n, dim]
  TensorView query;     // [n, dim]; what is added to the residual stream, once attention has read it
  TensorView key;       // [n, dim]
  TensorView value;     // [n, dim]
  TensorView attended;  // [n, dim]
  TensorView hidden;    // [n or fewer, dim_ffn]: the feed-forward goes so many rows at a time
};

/// Takes the scratch out of the workspace, inside the caller's scope.
Wav2Vec2Activations take_activations(Workspace& workspace, const Wav2Vec2Config& config, std::int64_t states);

/// Borrows all it is made from.
class Wav2Vec2Layer {
 public:
  /// `name` begins its taps.
  Wav2Vec2Layer(const Wav2Vec2Config& config, const Wav2Vec2Activations& scratch,
                const Wav2Vec2LayerWeights& weights, std::string name);

  /// x [n, dim] f32, changed in place.
  void run(ExecContext& ctx, const TensorView& x) const;

 private:
  /// scratch.normed -> scratch.query.
  void self_attention(ExecContext& ctx) const;
  void feed_forward(ExecContext& ctx) const;
  /// [n, dim] -> [n, heads, head_dim].
  TensorView as_heads(const TensorView& rows) const;

  const Wav2Vec2Config& config_;
  const Wav2Vec2Activations& scratch_;
  const Wav2Vec2LayerWeights& weights_;
  std::string name_;
};

}  // namespace wan
