#include "models/video_vae/resample.h"

#include "models/video_vae/residual_block.h"
#include "models/video_vae/strip_exchange.h"
#include "models/video_vae/upsample_conv.h"
#include "ops/copy.h"
#include "ops/fill_zero.h"
#include "ops/gated_residual.h"

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

void Downsample::halve_space(ExecContext& ctx, const StreamState& state, const TensorView& x,
                             const TensorView& out, const TensorView& residual) const {
  const Strip& strip = state.strip();
  if (!strip.divided()) return space_.forward(ctx, x, out, residual);
  const Workspace::Scope scope(ctx.workspace);
  const SpatialPadding& padding =
      space_.shape().padding;  // all of it is in the frames: one copy, whoever convolves
  const bool rows = strip.divides_rows();
  const TensorView frames = ctx.workspace.take(x.dtype(), with_halo(x.shape(), padding));
  copy(ctx, {.from = x, .out = inside_halo(frames, padding)});
  fill_zero(ctx, rows ? frames.slice(2, x.dim(2), x.dim(2) + 1) : frames.slice(1, x.dim(1), x.dim(1) + 1));
  exchange_halo(ctx, strip, frames, rows ? SpatialPadding{.bottom = 1} : SpatialPadding{.right = 1});
  space_.forward(ctx, FrameWindow{frames, 0, padding}, out, residual);
}

void Downsample::run(ExecContext& ctx, StreamState& state, const TensorView& x, const TensorView& out,
                     const TensorView& residual) const {
  if (!time_) {
    halve_space(ctx, state, x, out, residual);
    return;
  }
  Workspace::Scope scope(ctx.workspace);
  FeatureCache& cache = state.cache(ctx, *time_, space_.output_shape(x.shape()));
  const FrameWindow frames = cache.open(ctx, x.dim(0));
  const TensorView halved = cache.new_frames(frames);
  halve_space(ctx, state, x, halved, {});
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
    : space_(CausalConv3d::load_2d(
          scope.child("resample.1"),
          {.in = in, .out = out, .kernel = {1, 3, 3}, .padding = {.left = 1, .right = 1}})) {
  if (time == TimeResampling::kFactor2)
    time_ = CausalConv3d(scope.child("time_conv"), {.in = in, .out = 2 * in, .kernel = {3, 1, 1}});
}

Shape Upsample::output_shape(const Shape& group, GroupKind kind) const {
  const std::int64_t frames = time_ && kind == GroupKind::kLater ? 2 * group[0] : group[0];
  return {frames, 2 * group[1], 2 * group[2], space_.shape().out};
}

void Upsample::run(ExecContext& ctx, StreamState& state, const TensorView& x, const TensorView& out,
                   const TensorView& residual) const {
  Workspace::Scope scope(ctx.workspace);
  TensorView frames = x;
  if (time_ && state.group() == GroupKind::kLater) {
    frames = state.take(ctx, with_frames(x.shape(), 2 * x.dim(0)));
    double_time(ctx, state.cache(ctx, *time_, x.shape()), x, frames);
  }
  upsample_conv(ctx, space_,
                {.x = frames,
                 .rows = upsample_conv_rows(x.shape()),
                 .residual = residual,
                 .out = out,
                 .strip = state.strip()});
}

void Upsample::double_time(ExecContext& ctx, FeatureCache& cache, const TensorView& x,
                           const TensorView& out) const {
  Workspace::Scope scope(ctx.workspace);
  const FrameWindow frames = cache.open(ctx, x.dim(0));
  copy(ctx, {.from = x, .out = cache.new_frames(frames)});
  const TensorView pairs = out.reshape({x.dim(0), 2, x.dim(1), x.dim(2), x.dim(3)});
  time_->forward_halves(ctx, frames, pairs.select(1, 0), pairs.select(1, 1));
  cache.close(ctx, frames);
}

}  // namespace wan
