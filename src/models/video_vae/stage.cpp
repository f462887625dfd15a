#include "models/video_vae/stage.h"

#include <algorithm>

namespace wan {

namespace {

/// Shape of the input frames that become these output frames; both shapes are of the whole group.
Shape needed(const Shape& input, const Shape& output, std::int64_t frames) {
  return with_frames(input, frames * input[0] / output[0]);
}

}  // namespace

std::string tap_name(const WeightScope& scope) {
  const std::string& prefix = scope.prefix();
  return "vae." + prefix.substr(0, prefix.size() - (prefix.ends_with('.') ? 1 : 0));
}

std::vector<Shape> StageList::shapes(const Shape& group, GroupKind kind) const {
  std::vector<Shape> shapes{group};
  for (const Named& named : stages_) shapes.push_back(named.stage->output_shape(shapes.back(), kind));
  return shapes;
}

void StageList::run(std::size_t index, ExecContext& ctx, StreamState& state, const TensorView& x,
                    const TensorView& out) const {
  ctx.check_cancelled();
  ctx.enter(stages_[index].name);
  stages_[index].stage->forward(ctx, state, x, out);
  ctx.tap(stages_[index].name, out);
}

TensorView StageList::forward(ExecContext& ctx, StreamState& state, const TensorView& x) const {
  TensorView last = x;
  for (std::size_t i = 0; i < stages_.size(); ++i) {
    const Stage& stage = *stages_[i].stage;
    TensorView out = last;
    if (!stage.in_place()) out = state.take(ctx, stage.output_shape(last.shape(), state.group()));
    run(i, ctx, state, last, out);
    last = out;
  }
  return last;
}

bool StageList::goes_to_target(std::size_t index, const Shape& out, const StreamOptions& options) const {
  return options.frames_at_once(out[0]) == out[0] &&
         std::all_of(stages_.begin() + static_cast<std::ptrdiff_t>(index) + 1, stages_.end(),
                     [](const Named& named) { return named.stage->in_place(); });
}

void StageList::push(ExecContext& ctx, StreamState& state, const TensorView& x,
                     const FrameTarget& target) const {
  push_from(0, ctx, state, x, target);
}

void StageList::push_from(std::size_t index, ExecContext& ctx, StreamState& state, const TensorView& x,
                          const FrameTarget& target) const {
  const std::int64_t part = state.options().frames_at_once(x.dim(0));
  if (part < x.dim(0)) {
    for (std::int64_t t = 0; t < x.dim(0); t += part)
      push_from(index, ctx, state, x.slice(0, t, t + part), target);
    return;
  }
  if (index == stages_.size()) return target.take(x);
  const Stage& stage = *stages_[index].stage;
  const Workspace::Scope scope(ctx.workspace);
  TensorView out = x;
  if (!stage.in_place()) {
    const Shape shape = stage.output_shape(x.shape(), state.group());
    out = goes_to_target(index, shape, state.options()) ? target.place(shape) : state.take(ctx, shape);
  }
  run(index, ctx, state, x, out);
  push_from(index + 1, ctx, state, out, target);
}

void StageList::pull(ExecContext& ctx, StreamState& state, const Shape& group, const FrameFill& source,
                     const TensorView& out) const {
  pull_to(stages_.size(), ctx, state, shapes(group, state.group()), source, out);
}

void StageList::pull_to(std::size_t index, ExecContext& ctx, StreamState& state,
                        const std::vector<Shape>& shapes, const FrameFill& source,
                        const TensorView& out) const {
  const std::int64_t part = state.options().frames_at_once(out.dim(0));
  if (part < out.dim(0)) {
    for (std::int64_t t = 0; t < out.dim(0); t += part)
      pull_to(index, ctx, state, shapes, source, out.slice(0, t, t + part));
    return;
  }
  if (index == 0) return source(out);
  const Workspace::Scope scope(ctx.workspace);
  TensorView x = out;
  if (!stages_[index - 1].stage->in_place())
    x = state.take(ctx, needed(shapes[index - 1], shapes[index], out.dim(0)));
  pull_to(index - 1, ctx, state, shapes, source, x);
  run(index - 1, ctx, state, x, out);
}

}  // namespace wan
