#include "ops/linear_group.h"

#include "ops/dispatch.h"

namespace wan {

void validate(const LinearGroupArgs& args) {
  bool ended = false;
  WAN_CHECK(args.products[0].x, kInternal, "[linear_group] has no product");
  args.for_each([](const LinearArgs& product) { validate(product); });
  for (const LinearArgs& product : args.products) {
    WAN_CHECK(!product.x || (!ended && product.x.data() == args.products[0].x.data() &&
                             product.x.shape() == args.products[0].x.shape()),
              kInternal, "[linear_group] products of the same x, from the first on, expected");
    ended = !product.x;
  }
  if (!args.is_gated()) return;
  WAN_CHECK(args.products[1].x && !args.products[2].x, kInternal, "[linear_group] a gate has two products");
  validate(args.gating());
}

void reference(const LinearGroupArgs& args) {
  args.for_each([](const LinearArgs& product) { reference(product); });
  if (args.is_gated()) reference(args.gating());
}

void linear_group(ExecContext& ctx, const LinearGroupArgs& args) {
  validate(args);
  if (ctx.check == nullptr) return dispatch(ctx, "linear_group", args);
  args.for_each([&](const LinearArgs& product) { linear(ctx, product); });
  if (args.is_gated()) gated_activation(ctx, args.gating());
}

}  // namespace wan
