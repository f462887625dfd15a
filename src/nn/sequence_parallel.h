#pragma once
// Self-attention over a sequence whose tokens are divided over ranks (Ulysses): all-to-all turns "my tokens, all heads"
// into "all tokens, my heads" and back. On one rank it is plain attention.

#include "nn/token_layout.h"
#include "ops/exec_context.h"

namespace wan {

/// q, k, v, out [local tokens, H, D], contiguous, one dtype. Scale 1 / sqrt(D). Heads are divided as evenly as they
/// can be: 40 over 3 ranks are 14, 13 and 13. Throws InvalidArgument where there are more ranks than heads. (Ulysses: arXiv 2309.14509.)
void sequence_parallel_attention(ExecContext& ctx, const TokenLayout& layout, const TensorView& q,
                                 const TensorView& k, const TensorView& v, const TensorView& out);

/// Gathers every rank's rows: local [local tokens, C] into all [tokens, C], both contiguous.
void gather_tokens(ExecContext& ctx, const TokenLayout& layout, const TensorView& local,
                   const TensorView& all);

}  // namespace wan
