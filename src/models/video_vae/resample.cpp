#include "models/video_vae/resample.h"

#include "models/video_vae/residual_block.h"
#include "ops/copy.h"
#include "ops/gated_residual.h"
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

Shape Downsample::output_shape(const Shape& group, GroupKind kind) const {
  const Shape halved = space_.output_shape(group);
  return time_ && kind == GroupKind::kLater ? time_->output_shape(halved) : halved;
}

void Downsample::plan(const Shape& group, StreamPlan& plan) const {
  if (!time_) return;
  const StreamPlan::Scope scope(plan);
  plan.open_cache(space_.output_shape(group), time_->history());
}

void Downsample::run(ExecContext& ctx, StreamState& state, const TensorView& x, const TensorView& out,
                     const TensorView& residual) const {
  if (!time_) {
    space_.forward(ctx, x, out, residual);
    return;
  }
  Workspace::Scope scope(ctx.workspace);
  const FeatureCache& cache = state.next_cache();
  const TensorView frames = cache.open(ctx, x.dim(0));
  const TensorView halved = cache.new_frames(frames);
  space_.forward(ctx, x, halved);
  if (state.group() == GroupKind::kLater) {
    time_->forward(ctx, frames, out, residual);
  } else if (residual) {
    gated_residual(ctx, {.x = pixels(out), .y = pixels(halved), .gate = {}, .segments = {}});
  } else {
    copy(ctx, {.from = halved, .out = out});
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

Shape Upsample::output_shape(const Shape& group, GroupKind kind) const {
  const std::int64_t frames = time_ && kind == GroupKind::kLater ? 2 * group[0] : group[0];
  return {frames, 2 * group[1], 2 * group[2], space_.shape().out};
}

void Upsample::plan(const Shape& group, StreamPlan& plan) const {
  const StreamPlan::Scope scope(plan);
  if (time_) {
    plan.take({2 * group[0], group[1], group[2], group[3]});
    const StreamPlan::Scope opened(plan);
    plan.take(time_->output_shape(group));
    plan.open_cache(group, time_->history());
  }
  plan.take({1, 2 * group[1], 2 * group[2], group[3]});
}

void Upsample::run(ExecContext& ctx, StreamState& state, const TensorView& x, const TensorView& out,
                   const TensorView& residual) const {
  Workspace::Scope scope(ctx.workspace);
  TensorView frames = x;
  if (time_) {
    const FeatureCache& cache = state.next_cache();
    if (state.group() == GroupKind::kLater) {
      frames = ctx.workspace.take(DType::kF32, {2 * x.dim(0), x.dim(1), x.dim(2), x.dim(3)});
      double_time(ctx, cache, x, frames);
    }
  }
  // Frame by frame: the upsampled frame is the largest thing there is, once is enough.
  const TensorView large =
      ctx.workspace.take(DType::kF32, {1, 2 * frames.dim(1), 2 * frames.dim(2), frames.dim(3)});
  for (std::int64_t t = 0; t < frames.dim(0); ++t) {
    upsample_nearest_2x(ctx, {.x = frames.slice(0, t, t + 1), .out = large});
    space_.forward(ctx, large, out.slice(0, t, t + 1), residual ? residual.slice(0, t, t + 1) : residual);
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
