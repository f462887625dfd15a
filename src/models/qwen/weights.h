#pragma once
// The weights of a Qwen2.5 language model: what each is called in a checkpoint, its shape, and how it is held.

#include <optional>
#include <string>
#include <string_view>

#include "models/qwen/config.h"
#include "nn/linear.h"
#include "weights/block_layout.h"

namespace wan {

struct QwenLayerWeights {
  TensorView attention_norm;  // [dim] f32
  Linear query;               // [query_dim, dim]
  Linear key, value;          // [key_dim, dim]
  Linear output;              // [dim, query_dim]
  TensorView ffn_norm;        // [dim] f32
  Linear gate, up;            // [dim_ffn, dim]
  Linear down;                // [dim, dim_ffn]

  void visit(const WeightVisitor& at, const QwenConfig& config);
};

/// For a residency; bind_weights<QwenLayerWeights>() names the views of its leases.
BlockLayout qwen_block_layout(const QwenConfig& config);

/// All but the layers.
struct QwenOuterWeights {
  TensorView token_embedding;  // [vocabulary, dim], in the file
  TensorView norm;             // [dim] f32
  Linear head;                 // [vocabulary, dim]

  void visit(const WeightVisitor& at, const QwenConfig& config);
};

/// What a tensor of a GGUF file ("blk.3.attn_q.weight") is called in a safetensors folder; nothing for one that is not a Qwen2.5's.
std::optional<std::string> qwen_name_of_gguf(std::string_view name);

/// Marks as used what a checkpoint may have and the model does not need: a second copy of shared embeddings.
void skip_unneeded(const WeightScope& top, const QwenConfig& config);

}  // namespace wan
