#pragma once
// Rows of values become one value each, or weights that sum to 1.

#include "ops/exec_context.h"

namespace wan {

enum class RowReductionKind { kSum, kMean, kMax, kMin };

/// out[r] = the sum, mean, largest or smallest of x[r, :]. x [R, C] f32 contiguous, C at least 1; out [R] f32 contiguous. Sums in
/// f32.
struct RowReductionArgs {
  RowReductionKind kind;
  TensorView x;
  TensorView out;

  static void visit_views(auto& args, auto&& visit) {
    for (auto* view : {&args.x, &args.out}) visit(*view);
  }
};

/// out[r, c] = exp(x[r, c]) / sum_k exp(x[r, k]). x and out [R, C] f32 contiguous, C at least 1; out may be x. Sums in f32.
struct RowSoftmaxArgs {
  TensorView x;
  TensorView out;

  static void visit_views(auto& args, auto&& visit) {
    for (auto* view : {&args.x, &args.out}) visit(*view);
  }
};

void validate(const RowReductionArgs& args);
void reference(const RowReductionArgs& args);
void row_reduction(ExecContext& ctx, const RowReductionArgs& args);

void validate(const RowSoftmaxArgs& args);
void reference(const RowSoftmaxArgs& args);
void row_softmax(ExecContext& ctx, const RowSoftmaxArgs& args);

}  // namespace wan
