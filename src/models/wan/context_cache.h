#pragma once
// ContextCache: what text becomes for a model, computed once a prompt: its embedding, and every block's cross-attention
// keys and values.

#include <vector>

#include "tensor/tensor.h"

namespace wan {

/// One prompt in one expert. The rows past the prompt's end are equal (the embedding of zeros), so one row stands for all
/// of them and `key_bias` gives it their weight: softmax over text_len rows, computed over prompt + 1.
struct TextContext {
  struct BlockEntry {
    Tensor key;    // [rows, heads, head_dim], after its norm
    Tensor value;  // [rows, heads, head_dim]
  };

  Tensor embedded;                 // [rows, dim]; empty until the first step that needs it
  Tensor key_bias;                 // [rows] f32: 0, and log(text_len - prompt tokens) for the padding row
  std::vector<BlockEntry> blocks;  // one a block; empty tensors until that block's first use

  std::size_t bytes() const;
};

/// The contexts of one request, by expert and guidance branch.
class ContextCache {
 public:
  ContextCache(int experts, int branches);
  TextContext& at(int expert, int branch);
  std::size_t bytes() const;

 private:
  int branches_;
  std::vector<TextContext> contexts_;
};

}  // namespace wan
