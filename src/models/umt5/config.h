#pragma once
// Umt5Config: the dimensions of a umT5 text encoder, from its checkpoint.

#include "weights/weight_scope.h"

namespace wan {

/// All from the tensors' shapes: the official layout has no config file for the text encoder.
struct Umt5Config {
  std::int64_t vocabulary;
  std::int64_t dim;
  std::int64_t dim_attention;
  std::int64_t dim_ffn;
  std::int64_t num_heads;
  std::int64_t num_layers;
  std::int64_t num_buckets;  // of relative positions, both directions together

  std::int64_t head_dim() const { return dim_attention / num_heads; }
};

/// Throws BadFile where a tensor that tells a dimension is missing or the dimensions contradict one another.
Umt5Config umt5_config(const WeightScope& weights);

}  // namespace wan
