#pragma once
// Softmax attention of a language model: no token sees a later one, and several heads may share keys and values.

#include "ops/exec_context.h"

namespace wan {

/// out[i, h] = sum_j softmax_j(scale q[i, h] . k[j, g]) v[j, g] over the keys j <= Lk - Lq + i: the queries are those of the last Lq
/// tokens. g = h / (H / G). q, out [Lq, H, D]; k, v [Lk, G, D], Lk >= Lq, H a multiple of G; f32 or bf16, k and v of one dtype, any token
/// and head stride, D contiguous. Softmax and sums in f32. out must not overlap the inputs.
struct CausalAttentionArgs {
  TensorView q;
  TensorView k;
  TensorView v;
  float scale;
  TensorView out;

  static void visit_views(auto& args, auto&& visit) {
    for (auto* view : {&args.q, &args.k, &args.v, &args.out}) visit(*view);
  }
  /// 4 H D for each pair of a query and a key that it sees.
  std::int64_t flops() const {
    const std::int64_t queries = q.dim(0);
    const std::int64_t pairs = queries * (k.dim(0) - queries) + queries * (queries + 1) / 2;
    return 4 * pairs * q.dim(1) * q.dim(2);
  }
};

void validate(const CausalAttentionArgs& args);
void reference(const CausalAttentionArgs& args);
void causal_attention(ExecContext& ctx, const CausalAttentionArgs& args);

}  // namespace wan
