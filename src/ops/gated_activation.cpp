#include "ops/gated_activation.h"

#include "ops/dispatch.h"

namespace wan {

void validate(const GatedActivationArgs& args) {
  constexpr const char* kOp = "gated_activation";
  WAN_CHECK(args.kind == ActivationKind::kGeluTanh || args.kind == ActivationKind::kSiLU, kInternal,
            "[{}] no such kind", kOp);
  WAN_CHECK(!args.gate.empty(), kInternal, "[{}] gate is missing", kOp);
  check_shape(kOp, "x", args.x, args.gate.shape());
  check_shape(kOp, "out", args.out, args.gate.shape());
  for (const TensorView& view : {args.gate, args.x, args.out}) {
    check_activation_dtype(kOp, "an argument", view);
    WAN_CHECK(view.is_contiguous(), kInternal, "[{}] views must be contiguous", kOp);
  }
}

void reference(const GatedActivationArgs& args) {
  const Shape flat{args.gate.elements()};
  const TensorView gate = args.gate.reshape(flat);
  const TensorView x = args.x.reshape(flat);
  const TensorView out = args.out.reshape(flat);
  for (std::int64_t i = 0; i < flat[0]; ++i)
    store_element(out, {i}, apply_activation(args.kind, load_element(gate, {i})) * load_element(x, {i}));
}

void gated_activation(ExecContext& ctx, const GatedActivationArgs& args) {
  validate(args);
  dispatch(ctx, "gated_activation", args);
}

}  // namespace wan
