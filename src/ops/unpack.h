#pragma once
// A packed weight's values, right before they are multiplied with.

#include "ops/exec_context.h"

namespace wan {

/// out[r, c] = the value that `packed` has there, rounded once where out is bf16.
/// packed [rows, columns] contiguous, of a packed dtype whose blocks fit the rows (fits_rows()); out [rows, columns] contiguous in f32 or
/// bf16.
struct UnpackArgs {
  TensorView packed;
  TensorView out;

  static void visit_views(auto& args, auto&& visit) {
    for (auto* view : {&args.packed, &args.out}) visit(*view);
  }
};

void validate(const UnpackArgs& args);
void reference(const UnpackArgs& args);
void unpack(ExecContext& ctx, const UnpackArgs& args);

}  // namespace wan
