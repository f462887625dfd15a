#pragma once
// The weights of a umT5 text encoder: what each is called in a checkpoint, its shape, and how it is held.

#include "models/umt5/config.h"
#include "nn/linear.h"
#include "weights/block_layout.h"

namespace wan {

struct Umt5LayerWeights {
  TensorView attention_norm;  // [dim] f32
  Linear query, key, value;   // [dim_attention, dim]; no linear layer here has a bias
  Linear output;              // [dim, dim_attention]
  TensorView ffn_norm;        // [dim] f32
  Linear ffn_gate, ffn_in;    // [dim_ffn, dim]
  Linear ffn_out;             // [dim, dim_ffn]
  TensorView positions;       // [num_buckets, heads] f32: what a relative position adds to a score

  void visit(const WeightVisitor& at, const Umt5Config& config);
};

/// For a residency; bind_weights<Umt5LayerWeights>() names the views of its leases.
BlockLayout umt5_block_layout(const Umt5Config& config);

/// All but the layers.
struct Umt5EncoderWeights {
  TensorView token_embedding;  // [vocabulary, dim]
  TensorView norm;             // [dim] f32

  void visit(const WeightVisitor& at, const Umt5Config& config);
};

}  // namespace wan
