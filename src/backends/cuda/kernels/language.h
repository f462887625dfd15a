#pragma once
// Launchers of what language models have of their own: causal attention, rotation of halves, and a product with one row.

#include "backends/cuda/check.h"
#include "backends/cuda/scratch.h"
#include "ops/causal_attention.h"
#include "ops/linear_group.h"
#include "ops/rotate_halves.h"

namespace wan::cuda {

/// Heads up to kWidestCausalHead wide.
void launch_causal_attention(cudaStream_t stream, const CausalAttentionArgs& args,
                             const CausalScratch& scratch);

void launch_rotate_halves(cudaStream_t stream, const RotateHalvesArgs& args);

/// Whether launch_matrix_vectors() takes them: one row of x, a bf16 weight whose rows are whole 16-byte pieces. It reads the weight at
/// nearly the memory's rate, where the library's algorithms for many rows do not.
bool is_matrix_vector(const LinearArgs& args);
/// The same of all, whose results have one type.
bool are_matrix_vectors(const LinearGroupArgs& args);
/// In one launch: what begins and ends it takes as long as reading 20 MB of weights.
void launch_matrix_vectors(cudaStream_t stream, const LinearGroupArgs& args);

}  // namespace wan::cuda
