#include "ops/linear.h"

#include <vector>

#include "ops/dispatch.h"

namespace wan {

void validate(const LinearArgs& args) {
  constexpr const char* kOp = "linear";
  check_rank(kOp, "x", args.x, 2);
  check_rank(kOp, "weight", args.weight, 2);
  check_shape(kOp, "weight", args.weight, {args.weight.dim(0), args.x.dim(1)});
  check_shape(kOp, "out", args.out, {args.x.dim(0), args.weight.dim(0)});
  if (args.bias) check_shape(kOp, "bias", args.bias, {args.weight.dim(0)});
  for (const TensorView& view : {args.x, args.weight, args.out})
    check_activation_dtype(kOp, "an argument", view);
  check_inner_contiguous(kOp, "x", args.x);
  check_inner_contiguous(kOp, "out", args.out);
  WAN_CHECK(args.weight.is_contiguous(), kInternal, "[{}] weight must be contiguous", kOp);
}

void reference(const LinearArgs& args) {
  const std::int64_t width = args.x.dim(1);
  std::vector<double> inputs = load_elements(args.x);
  if (args.weight.dtype() == DType::kBF16)
    for (double& x : inputs) x = to_float(to_bf16(static_cast<float>(x)));
  const std::vector<double> factors = load_elements(args.weight);
  for (std::int64_t m = 0; m < args.x.dim(0); ++m) {
    for (std::int64_t n = 0; n < args.weight.dim(0); ++n) {
      const double product = dot_product(inputs.data() + m * width, factors.data() + n * width, width);
      const double bias = args.bias ? load_element(args.bias, {n}) : 0.0;
      store_element(args.out, {m, n}, apply_activation(args.activation, product + bias));
    }
  }
}

void linear(ExecContext& ctx, const LinearArgs& args) {
  validate(args);
  dispatch(ctx, "linear", args);
}

}  // namespace wan
