#pragma once
// The weights of CLIP's image tower: what each is called in a checkpoint, its shape, and how it is held. All in f32.

#include "models/clip/config.h"
#include "nn/layer_norm_rows.h"
#include "nn/linear.h"
#include "weights/block_layout.h"

namespace wan {

struct ClipLayerWeights {
  LayerNormWeights attention_norm;
  Linear query_key_value;  // [3 dim, dim]
  Linear output;           // [dim, dim]
  LayerNormWeights ffn_norm;
  Linear ffn_in;   // [dim_ffn, dim]
  Linear ffn_out;  // [dim, dim_ffn]

  void visit(const WeightVisitor& at, const ClipConfig& config);
};

/// What stands before the layers.
struct ClipOuterWeights {
  TensorView patch_kernel;  // [dim, 3, patch, patch]
  TensorView class_token;   // [1, 1, dim]
  TensorView positions;     // [1, tokens, dim]
  LayerNormWeights norm;

  void visit(const WeightVisitor& at, const ClipConfig& config);
};

/// For a residency, whose group has the scope of "visual"; bind_weights<ClipLayerWeights>() names the views of its leases.
BlockLayout clip_block_layout(const ClipConfig& config);

/// Marks as used what a checkpoint has for texts and for comparing them with images, and the last layer.
void skip_unneeded_clip(const WeightScope& top);

}  // namespace wan
