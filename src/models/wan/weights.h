#pragma once
// The weights of a Wan transformer: what each is called in a checkpoint, its shape, and how it is held.

#include "models/wan/animate/weights.h"
#include "models/wan/s2v/weights.h"
#include "weights/block_layout.h"

namespace wan {

/// Shift, scale and gate of the self-attention, then of the feed-forward.
constexpr int kModulationRows = 6;

struct WanBlockWeights {
  TensorView modulation;  // [1, 6, dim] f32
  AttentionWeights self_attention;
  TensorView cross_norm_weight, cross_norm_bias;  // [dim] f32
  AttentionWeights cross_attention;
  // Of models that attend to an image beside the text:
  Linear image_key, image_value;  // [dim, dim]
  TensorView norm_image_key;      // [dim] f32
  Linear ffn_in;                  // [ffn_dim, dim]
  Linear ffn_out;                 // [dim, ffn_dim]

  void visit(const WeightVisitor& at, const WanConfig& config);
};

/// For a residency; bind_weights<WanBlockWeights>() names the views of its leases.
BlockLayout wan_block_layout(const WanConfig& config);

/// All but the blocks. They are small, and in f32 in the official code whatever the blocks' precision.
struct WanTransformerWeights {
  TensorView patch_kernel;     // [dim, in_dim, pt, ph, pw]
  TensorView patch_bias;       // [dim]
  Linear text_in, text_out;    // [dim, text_dim], [dim, dim]
  Linear time_in, time_out;    // [dim, freq_dim], [dim, dim]
  Linear time_projection;      // [6 dim, dim]
  Linear head;                 // [pt ph pw out_dim, dim]
  TensorView head_modulation;  // [1, 2, dim]: shift, scale
  SpeechWeights speech;        // where the config has any
  AnimateWeights animate;      // likewise

  void visit(const WeightVisitor& at, const WanConfig& config);

  /// The patches do not overlap, so that their convolution is a product with each one's values [in_dim pt ph pw].
  Linear patch_embedding() const;
};

}  // namespace wan
