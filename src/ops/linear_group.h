#pragma once
// Several products of the same rows, where doing them at once saves what each costs to begin: a language model's query, key and value, or
// the gated half of a feed-forward.

#include <array>

#include "ops/gated_activation.h"
#include "ops/linear.h"

namespace wan {

/// Each as linear() does it. All have the same x; those behind the last have none. With a gate (kSiLU or kGeluTanh), of two products
/// of one shape and contiguous results: the second's is multiplied by gate(the first's), which is left undefined.
struct LinearGroupArgs {
  static constexpr std::size_t kMost = 3;
  std::array<LinearArgs, kMost> products;
  ActivationKind gate = ActivationKind::kNone;

  static void visit_views(auto& args, auto&& visit) {
    for (auto& product : args.products) LinearArgs::visit_views(product, visit);
  }
  /// visit(product) for those that there are.
  void for_each(auto&& visit) const {
    for (const LinearArgs& product : products)
      if (product.x) visit(product);
  }
  bool is_gated() const { return gate != ActivationKind::kNone; }
  /// What a gate does with the results, in place.
  GatedActivationArgs gating() const {
    return {.gate = products[0].out, .x = products[1].out, .out = products[1].out, .kind = gate};
  }
  /// One of the results: where a check looks at each, products are done one by one.
  TensorView result() const { return products[0].out; }
  std::int64_t flops() const {
    std::int64_t sum = 0;
    for_each([&](const LinearArgs& product) { sum += product.flops(); });
    return sum;
  }
};

void validate(const LinearGroupArgs& args);
void reference(const LinearGroupArgs& args);
void linear_group(ExecContext& ctx, const LinearGroupArgs& args);

}  // namespace wan
