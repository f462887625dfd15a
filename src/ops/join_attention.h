#pragma once
// Joining attention over some keys with attention over others.

#include "ops/exec_context.h"

namespace wan {

/// With s = log_sums[h, i], t = part_log_sums[h, i] and n = log(exp(s) + exp(t)):
/// out[i, h] = exp(s - n) out[i, h] + exp(t - n) part[i, h], and log_sums[h, i] = n: what one attention over both sets of keys gives.
/// out [L, H, D] f32; part [L, H, D] f32 or bf16; log_sums and part_log_sums [H, L] f32; all contiguous. In f32.
struct JoinAttentionArgs {
  TensorView out;
  TensorView log_sums;
  TensorView part;
  TensorView part_log_sums;

  static void visit_views(auto& args, auto&& visit) {
    for (auto* view : {&args.out, &args.log_sums, &args.part, &args.part_log_sums}) visit(*view);
  }
};

void validate(const JoinAttentionArgs& args);
void reference(const JoinAttentionArgs& args);
void join_attention(ExecContext& ctx, const JoinAttentionArgs& args);

}  // namespace wan
