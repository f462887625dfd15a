#pragma once
// Launcher of the softmax over whole rows of scores, between the two products of an attention.

#include "backends/cuda/check.h"
#include "tensor/tensor.h"

namespace wan::cuda {

/// weights[h, i, j] = softmax_j(scale scores[h, i, j] + bias[h, i, j] + key_bias[j]), in f32.
/// scores [H, L, K] f32, contiguous; bias [H, L, K] f32, rows dense, and key_bias [K] f32 may be empty; weights [H, L, K] f32
/// or bf16, contiguous; may be scores where f32. log_sums [H, L] f32, rows dense: log(sum_j exp(score_j)); may be empty.
struct SoftmaxArgs {
  TensorView scores;
  float scale = 1.0f;
  TensorView bias;
  TensorView key_bias;
  TensorView weights;
  TensorView log_sums = {};
};

void launch_softmax(cudaStream_t stream, const SoftmaxArgs& args);

}  // namespace wan::cuda
