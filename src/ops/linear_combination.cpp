#include "ops/linear_combination.h"

#include "ops/dispatch.h"

namespace wan {

void validate(const LinearCombinationArgs& args) {
  constexpr const char* kOp = "linear_combination";
  constexpr std::size_t kMostTerms = 8;
  WAN_CHECK(!args.terms.empty() && args.terms.size() <= kMostTerms, kInternal,
            "[{}] expected 1 to {} terms, got {}", kOp, kMostTerms, args.terms.size());
  const auto check = [&](const TensorView& view) {
    WAN_CHECK(!view.empty() && view.dtype() == DType::kF32 && view.is_contiguous() &&
                  view.elements() == args.out.elements(),
              kInternal, "[{}] views must be contiguous f32 of equal size", kOp);
  };
  check(args.out);
  for (const auto& term : args.terms) check(term.x);
}

void reference(const LinearCombinationArgs& args) {
  const std::int64_t count = args.out.elements();
  for (std::int64_t i = 0; i < count; ++i) {
    double sum = 0.0;
    for (const auto& term : args.terms) sum += term.coefficient * static_cast<double>(term.x.as<float>()[i]);
    args.out.as<float>()[i] = static_cast<float>(sum);
  }
}

void linear_combination(ExecContext& ctx, const LinearCombinationArgs& args) {
  validate(args);
  dispatch(ctx, "linear_combination", args);
}

}  // namespace wan
