#pragma once
// Attention over a sequence whose tokens are divided over machines: each one's keys and values go round all of them, while its queries
// attend to those that are there.

#include "ops/exec_context.h"

namespace wan {

/// q, k, v, out [this machine's tokens, heads, D], contiguous, one dtype; others read k and v. tokens: how many each machine has, in the
/// order of `machines`, a rank of each. Scale 1 / sqrt(D). Results are joined in f32 (ops/join_attention.h).
/// (Ring attention: arXiv 2310.01889.)
struct RingArgs {
  Communicator& machines;
  std::span<const std::int64_t> tokens;
  TensorView q, k, v, out;
};
void ring_attention(ExecContext& ctx, const RingArgs& args);

}  // namespace wan
