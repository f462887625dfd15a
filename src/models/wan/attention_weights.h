#pragma once
// Weights that Wan's transformer and its parts for speech and animation have several of: of an attention, of a patch embedding.

#include "nn/linear.h"
#include "ops/patchify.h"

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

/// A patch embedding of its own.
struct PatchEmbeddingWeights {
  TensorView kernel;  // [dim, channels, pt, ph, pw] f32
  TensorView bias;    // [dim] f32

  void visit(const WeightVisitor& at, std::int64_t channels, const PatchSize& patch, std::int64_t dim) {
    at.tensor("weight", kernel, {dim, channels, patch[0], patch[1], patch[2]}, WeightDType::kFloat32);
    at.tensor("bias", bias, {dim}, WeightDType::kFloat32);
  }
  /// Patches do not overlap: a product with each one's values [channels pt ph pw].
  TensorView matrix() const { return kernel.reshape({kernel.dim(0), kernel.elements() / kernel.dim(0)}); }
};

}  // namespace wan
