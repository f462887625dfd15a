#pragma once
// The weights of an attention as Wan's transformer has several, and its parts for speech.

#include "nn/linear.h"

namespace wan {

struct AttentionWeights {
  Linear query, key, value, output;  // [dim, dim]
  TensorView norm_query, norm_key;   // [dim] f32

  void visit(const WeightVisitor& at, std::int64_t dim) {
    query.visit(at.child("q"), {.in = dim, .out = dim});
    key.visit(at.child("k"), {.in = dim, .out = dim});
    value.visit(at.child("v"), {.in = dim, .out = dim});
    output.visit(at.child("o"), {.in = dim, .out = dim});
    at.tensor("norm_q.weight", norm_query, {dim}, WeightDType::kFloat32);
    at.tensor("norm_k.weight", norm_key, {dim}, WeightDType::kFloat32);
  }
};

}  // namespace wan
