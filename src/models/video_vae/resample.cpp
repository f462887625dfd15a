#include "models/video_vae/resample.h"

#include "ops/copy.h"
#include "ops/upsample.h"

namespace wan {

Downsample::Downsample(const WeightScope& scope, std::int64_t channels, TimeResampling time)
    : space_(CausalConv3d::load_2d(scope.child("resample.1"), {.in = channels,
                                                               .out = channels,
                                                               .kernel = {1, 3, 3},
                                                               .stride = {1, 2, 2},
                                                               .padding = {.bottom = 1, .right = 1}})) {
  if (time == TimeResampling::kFactor2)
    time_ = CausalConv3d(scope.child("time_conv"),
                         {.in = channels, .out = channels, .kernel = {3, 1, 1}, .stride = {2, 1, 1}});
}

Shape Downsample::output_shape(const Shape& group, bool first_group) const {
  const Shape halved = space_.output_shape(group);
  return time_ && !first_group ? time_->output_shape(halved) : halved;
}

Shape Downsample::plan(const Shape& group, StreamPlan& plan) const {
  if (time_) {
    const StreamPlan::Scope scope(plan);
    plan.open_cache(space_.output_shape(group), time_->history());
  }
  return output_shape(group, false);
}

void Downsample::forward(ExecContext& ctx, StreamState& state, const TensorView& x,
                         const TensorView& out) const {
  if (!time_) {
    space_.forward(ctx, x, out);
    return;
  }
  Workspace::Scope scope(ctx.workspace);
  const FeatureCache& cache = state.next_cache();
  const TensorView frames = cache.open(ctx, x.dim(0));
  const TensorView halved = cache.new_frames(frames);
  space_.forward(ctx, x, halved);
  if (state.first_group()) {
    copy(ctx, {.from = halved, .out = out});
  } else {
    time_->forward(ctx, frames, out);
  }
  cache.close(ctx, frames);
}

Upsample::Upsample(const WeightScope& scope, std::int64_t in, std::int64_t out, TimeResampling time)
    : space_(CausalConv3d::load_2d(scope.child("resample.1"),
                                   {.in = in,
                                    .out = out,
                                    .kernel = {1, 3, 3},
                                    .padding = {.top = 1, .bottom = 1, .left = 1, .right = 1}})) {
  if (time == TimeResampling::kFactor2)
    time_ = CausalConv3d(scope.child("time_conv"), {.in = in, .out = 2 * in, .kernel = {3, 1, 1}});
}

Shape Upsample::output_shape(const Shape& group, bool first_group) const {
  const std::int64_t frames = time_ && !first_group ? 2 * group[0] : group[0];
  return {frames, 2 * group[1], 2 * group[2], space_.shape().out};
}

Shape Upsample::plan(const Shape& group, StreamPlan& plan) const {
  const Shape out = output_shape(group, false);
  const StreamPlan::Scope scope(plan);
  if (time_) {
    plan.take({2 * group[0], group[1], group[2], group[3]});
    const StreamPlan::Scope opened(plan);
    plan.take(time_->output_shape(group));
    plan.open_cache(group, time_->history());
  }
  plan.take({1, out[1], out[2], group[3]});
  return out;
}

void Upsample::forward(ExecContext& ctx, StreamState& state, const TensorView& x,
                       const TensorView& out) const {
  Workspace::Scope scope(ctx.workspace);
  TensorView frames = x;
  if (time_) {
    const FeatureCache& cache = state.next_cache();
    if (!state.first_group()) {
      frames = ctx.workspace.take(DType::kF32, {2 * x.dim(0), x.dim(1), x.dim(2), x.dim(3)});
      double_time(ctx, cache, x, frames);
    }
  }
  // Frame by frame: the upsampled frame is the largest thing there is, once is enough.
  const TensorView large =
      ctx.workspace.take(DType::kF32, {1, 2 * frames.dim(1), 2 * frames.dim(2), frames.dim(3)});
  for (std::int64_t t = 0; t < frames.dim(0); ++t) {
    upsample_nearest_2x(ctx, {.x = frames.slice(0, t, t + 1), .out = large});
    space_.forward(ctx, large, out.slice(0, t, t + 1));
  }
}

void Upsample::double_time(ExecContext& ctx, const FeatureCache& cache, const TensorView& x,
                           const TensorView& out) const {
  Workspace::Scope scope(ctx.workspace);
  const TensorView pairs = ctx.workspace.take(DType::kF32, time_->output_shape(x.shape()));  // [T, H, W, 2C]
  const TensorView frames = cache.open(ctx, x.dim(0));
  copy(ctx, {.from = x, .out = cache.new_frames(frames)});
  time_->forward(ctx, frames, pairs);
  const Shape split{x.dim(0), x.dim(1), x.dim(2), 2, x.dim(3)};
  copy(ctx, {.from = pairs.reshape(split).permute({0, 3, 1, 2, 4}),
             .out = out.reshape({x.dim(0), 2, x.dim(1), x.dim(2), x.dim(3)})});
  cache.close(ctx, frames);
}

}  // namespace wan
