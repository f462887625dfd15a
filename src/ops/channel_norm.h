#pragma once
// The VAE's norm: a pixel's channels scaled to length sqrt(C), times gamma, then an activation (Wan's
// RMS_norm).

#include "ops/activation.h"

namespace wan {

/// out[n, c] = activation(x[n, c] / max(||x[n]||, 1e-12) * sqrt(C) * gamma[c]).
/// x, out [N, C] or M times that, [M, N, C], any strides but for contiguous channels, f32 or bf16; gamma [C] f32. Statistics in f32. out may be x.
struct ChannelNormArgs {
  TensorView x;
  TensorView gamma;
  ActivationKind activation = ActivationKind::kNone;
  TensorView out;

  static void visit_views(auto& args, auto&& visit) {
    for (auto* view : {&args.x, &args.gamma, &args.out}) visit(*view);
  }
};

void validate(const ChannelNormArgs& args);
void reference(const ChannelNormArgs& args);
void channel_norm(ExecContext& ctx, const ChannelNormArgs& args);

}  // namespace wan
