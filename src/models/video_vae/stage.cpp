#include "models/video_vae/stage.h"

namespace wan {

std::string tap_name(const WeightScope& scope) {
  const std::string& prefix = scope.prefix();
  return "vae." + prefix.substr(0, prefix.size() - (prefix.ends_with('.') ? 1 : 0));
}

Shape StageList::plan(const Shape& group, StreamPlan& plan) const {
  Shape x = group;
  for (const Named& named : stages_) {
    const Shape out = named.stage->output_shape(x, GroupKind::kLater);
    if (!named.stage->in_place()) plan.take(out);
    named.stage->plan(x, plan);
    x = out;
  }
  return x;
}

TensorView StageList::forward(ExecContext& ctx, StreamState& state, const TensorView& x) const {
  TensorView last = x;
  for (const Named& named : stages_) {
    ctx.check_cancelled();
    TensorView out = last;
    if (!named.stage->in_place())
      out = ctx.workspace.take(DType::kF32, named.stage->output_shape(last.shape(), state.group()));
    named.stage->forward(ctx, state, last, out);
    last = out;
    ctx.tap(named.name, last);
  }
  return last;
}

}  // namespace wan
