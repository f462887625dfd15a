#pragma once
// Counting NaN and infinity, so that they never reach a file silently.

#include "ops/exec_context.h"

namespace wan {

/// *count = number of elements that are NaN or infinite. x: contiguous, f32 or bf16. Waits for the device.
struct CountNonFiniteArgs {
  TensorView x;
  std::int64_t* count;

  static void visit_views(auto& args, auto&& visit) { visit(args.x); }
  /// Nothing: a number on the host.
  TensorView result() const { return {}; }
};

void validate(const CountNonFiniteArgs& args);
void reference(const CountNonFiniteArgs& args);
std::int64_t count_non_finite(ExecContext& ctx, const TensorView& x);

}  // namespace wan
