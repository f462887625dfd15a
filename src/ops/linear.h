#pragma once
// Matrix product with a weight, bias and activation: PyTorch's nn.Linear.

#include "ops/activation.h"

namespace wan {

/// out[m, n] = activation(sum_k x[m, k] weight[n, k] + bias[n]).
/// x [M, K] and out [M, N] in f32 or bf16, rows may be strided; weight [N, K] contiguous in f32 or bf16; bias
/// [N] f32 or bf16, may be empty. Accumulates in f32. With a bf16 weight, x is rounded to bf16 first, as
/// autocast does. out must not overlap x.
struct LinearArgs {
  TensorView x;
  TensorView weight;
  TensorView bias;
  TensorView out;
  ActivationKind activation = ActivationKind::kNone;

  static void visit_views(auto& args, auto&& visit) {
    for (auto* view : {&args.x, &args.weight, &args.bias, &args.out}) visit(*view);
  }
  /// 2 M N K.
  std::int64_t flops() const { return 2 * x.dim(0) * x.dim(1) * weight.dim(0); }
};

void validate(const LinearArgs& args);
void reference(const LinearArgs& args);
void linear(ExecContext& ctx, const LinearArgs& args);

}  // namespace wan
