#pragma once
// Launchers of the attention kernel that takes every argument the op allows up to a head width, and of the one that joins results.

#include "backends/cuda/check.h"
#include "backends/cuda/scratch.h"
#include "ops/attention.h"
#include "ops/join_attention.h"

namespace wan::cuda {

/// q, k and v of one dtype; head width up to kWidestPlainHead.
void launch_plain_attention(cudaStream_t stream, const AttentionArgs& args);

void launch_join_attention(cudaStream_t stream, const JoinAttentionArgs& args);

}  // namespace wan::cuda
