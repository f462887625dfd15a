#pragma once
// Weighted sums of tensors: sampler updates, guidance, sums of modulation tables.

#include <vector>

#include "ops/exec_context.h"

namespace wan {

/// out = sum_i coefficient_i * term_i. 1 to 8 terms; all contiguous f32 of the same number of elements. out
/// may be one of the terms. Each product and sum in f32.
struct LinearCombinationArgs {
  struct Term {
    double coefficient;
    TensorView x;
  };
  std::vector<Term> terms;
  TensorView out;

  static void visit_views(auto& args, auto&& visit) {
    for (auto& term : args.terms) visit(term.x);
    visit(args.out);
  }
};

void validate(const LinearCombinationArgs& args);
void reference(const LinearCombinationArgs& args);
void linear_combination(ExecContext& ctx, const LinearCombinationArgs& args);

}  // namespace wan
