#pragma once
// Zeroing memory of any device: the frames before a clip, sums before their first term.

#include "ops/exec_context.h"

namespace wan {

/// view = 0: all bits 0. Any dtype, any strides without overlap.
struct FillZeroArgs {
  TensorView view;

  static void visit_views(auto& args, auto&& visit) { visit(args.view); }
  /// Nothing: zeros.
  TensorView result() const { return {}; }
};

void validate(const FillZeroArgs& args);
void reference(const FillZeroArgs& args);
void fill_zero(ExecContext& ctx, const TensorView& view);

}  // namespace wan
