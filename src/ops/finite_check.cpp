#include "ops/finite_check.h"

#include "ops/copy.h"
#include "ops/exec_context.h"
#include "ops/finite.h"

namespace wan {

void FiniteCheck::look(ExecContext& ctx, const char* op, const TensorView& result) const {
  if (result.empty() || (result.dtype() != DType::kF32 && result.dtype() != DType::kBF16)) return;
  // Looking is done by ops too, which are not looked at.
  ExecContext unchecked = ctx;
  unchecked.check = nullptr;
  unchecked.flops = nullptr;
  const Workspace::Scope scope(ctx.workspace);
  TensorView values = result;
  if (!values.is_contiguous()) {
    values = ctx.workspace.take(result.dtype(), result.shape());
    copy(unchecked, {.from = result, .out = values});
  }
  const std::int64_t broken = count_non_finite(unchecked, values);
  WAN_CHECK(broken == 0, kInternal,
            "[check] {} in {} is the first op whose result is not finite: {} of {} values, shape {}, {}", op,
            layer_.empty() ? "the preparation of a model" : layer_, broken, values.elements(),
            result.shape().to_string(), dtype_name(result.dtype()));
}

}  // namespace wan
