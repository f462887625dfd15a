#pragma once
// QwenVisionTower: a picture's patches to tokens of a Qwen2.5-VL language model.

#include "models/qwen/picture.h"
#include "nn/linear.h"
#include "ops/exec_context.h"
#include "weights/block_residency.h"

namespace wan {

struct QwenVisionBlockWeights {
  TensorView attention_norm;  // [dim] f32
  Linear query_key_value;     // [3 dim, dim]
  Linear output;              // [dim, dim]
  TensorView ffn_norm;        // [dim] f32
  Linear gate, up;            // [dim_ffn, dim]
  Linear down;                // [dim, dim_ffn]

  void visit(const WeightVisitor& at, const QwenVisionConfig& config);
};

/// For a residency; its group's scope is the checkpoint's top.
BlockLayout qwen_vision_block_layout(const QwenVisionConfig& config);

struct QwenVisionOuterWeights {
  TensorView patches;     // [dim, channels, frames, patch, patch]
  TensorView merge_norm;  // [dim] f32
  Linear merge_in;        // [merge^2 dim, merge^2 dim]
  Linear merge_out;       // [out_dim, merge^2 dim]

  void visit(const WeightVisitor& at, const QwenVisionConfig& config);
};

class QwenVisionTower {
 public:
  /// `top` is the checkpoint's; blocks come from the residency's `group`. `dtype`: of activations.
  QwenVisionTower(const QwenVisionConfig& config, const WeightScope& top, BlockResidency& residency,
                  int group, DType dtype);

  /// Fills out [merged patches, out_dim] f32 on the host, row after row of the picture.
  void encode(ExecContext& ctx, const PicturePatches& picture, const TensorView& out) const;

 private:
  void run_block(ExecContext& ctx, const QwenVisionBlockWeights& weights, bool whole,
                 const PicturePatches& picture, const TensorView& table, const TensorView& x) const;

  QwenVisionConfig config_;
  BlockResidency& residency_;
  int group_;
  DType dtype_;
  LoadedWeights<QwenVisionOuterWeights> weights_;
};

}  // namespace wan
