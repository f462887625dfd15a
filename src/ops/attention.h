#pragma once
// Softmax attention over heads.

#include "ops/exec_context.h"

namespace wan {

/// out[i, h] = sum_j softmax_j(scale q[i, h] . k[j, h] + bias[h, i, j] + key_bias[j]) v[j, h].
/// q, out [Lq, H, D]; k, v [Lk, H, D]; f32 or bf16, any token and head stride, D contiguous. bias [H, Lq, Lk]
/// f32 and key_bias [Lk] f32 may be empty; key_bias log(n) makes one key count as n equal ones. Softmax and
/// sums in f32. out must not overlap the inputs. Where log_sums [H, Lq] f32, contiguous, is not empty, each row's
/// log(sum_j exp(score_j)) is written to it: what join_attention() joins results over several sets of keys by.
struct AttentionArgs {
  TensorView q;
  TensorView k;
  TensorView v;
  float scale;
  TensorView bias;
  TensorView key_bias;
  TensorView out;
  TensorView log_sums = {};

  static void visit_views(auto& args, auto&& visit) {
    for (auto* view : {&args.q, &args.k, &args.v, &args.bias, &args.key_bias, &args.out, &args.log_sums})
      visit(*view);
  }
  /// 4 Lq Lk H D, scores and their product with the values.
  std::int64_t flops() const { return 4 * q.elements() * k.dim(0); }
};

void validate(const AttentionArgs& args);
void reference(const AttentionArgs& args);
void attention(ExecContext& ctx, const AttentionArgs& args);

}  // namespace wan
