#pragma once
// Copy with any strides, converting the element type: layout changes, packing for collectives, feature
// caches.

#include "ops/exec_context.h"

namespace wan {

/// out = from, element by element. Same shape, any strides; equal dtypes of any kind, or f32 / bf16 / f16 to
/// one another (rounded to nearest even). Both on the backend's device. No overlap.
struct CopyArgs {
  TensorView from;
  TensorView out;

  static void visit_views(auto& args, auto&& visit) {
    for (auto* view : {&args.from, &args.out}) visit(*view);
  }
};

void validate(const CopyArgs& args);
void reference(const CopyArgs& args);
void copy(ExecContext& ctx, const CopyArgs& args);

}  // namespace wan
