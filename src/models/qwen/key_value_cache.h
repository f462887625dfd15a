#pragma once
// KeyValueCache: the keys and values of a text's tokens so far, layer by layer, on the model's device.

#include "models/qwen/config.h"
#include "tensor/tensor.h"

namespace wan {

class KeyValueCache {
 public:
  /// For `capacity` tokens, in the dtype of activations. Throws OutOfMemory.
  KeyValueCache(Allocator& allocator, const QwenConfig& config, std::int64_t capacity, DType dtype);

  std::int64_t tokens() const { return tokens_; }
  std::int64_t capacity() const { return keys_.dim(1); }
  /// [tokens from first to last, key heads, head_dim] of a layer.
  TensorView keys(std::int64_t layer, std::int64_t first, std::int64_t last) const {
    return keys_.view().select(0, layer).slice(0, first, last);
  }
  TensorView values(std::int64_t layer, std::int64_t first, std::int64_t last) const {
    return values_.view().select(0, layer).slice(0, first, last);
  }
  /// `count` further tokens are there, in every layer.
  void grow(std::int64_t count) { tokens_ += count; }

 private:
  Tensor keys_;    // [layers, capacity, key heads, head_dim]
  Tensor values_;  // likewise
  std::int64_t tokens_ = 0;
};

/// Its device memory.
std::int64_t key_value_bytes(const QwenConfig& config, std::int64_t capacity, DType dtype);

}  // namespace wan
