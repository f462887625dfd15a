#include "models/video_vae/encoder.h"

#include <utility>

#include "models/video_vae/pixel_patches.h"
#include "ops/copy.h"

namespace wan {

VaeEncoder::VaeEncoder(const WeightScope& scope, const VaeEncoderShape& shape,
                       const LatentStatistics& statistics, StageList downsamples)
    : patch_(shape.patch),
      conv1_(scope.child("encoder.conv1"), same_size_conv(patch_channels(shape.patch), shape.first_channels)),
      downsamples_(std::move(downsamples)),
      middle_(scope.child("encoder.middle"), shape.last_channels),
      head_norm_(load_gamma(scope.child("encoder.head.0"), {shape.last_channels, 1, 1, 1})),
      head_(scope.child("encoder.head.2"), same_size_conv(shape.last_channels, 2 * statistics.channels())),
      mean_(load_normalizing(scope.child("conv1"), statistics)) {}

void VaeEncoder::plan(const Shape& group, StreamPlan& plan) const {
  const StreamPlan::Scope scope(plan);
  const Shape patches = patched_shape(group, patch_);
  Shape x = conv1_.output_shape(patches);
  plan.take(x);
  {
    const StreamPlan::Scope first(plan);
    plan.open_cache(patches, conv1_.history());
    if (patch_ > 1) plan.take(group);
  }
  x = downsamples_.plan(x, plan);
  middle_.plan(x, plan);
  const Shape moments = head_.output_shape(x);
  plan.take(moments);
  {
    const StreamPlan::Scope head(plan);
    plan.open_cache(x, head_.history());
  }
  plan.take(mean_.output_shape(moments));
}

TensorView VaeEncoder::first_convolution(ExecContext& ctx, StreamState& state, const FrameSource& source,
                                         std::int64_t first, const Shape& group) const {
  const TensorView x = ctx.workspace.take(DType::kF32, conv1_.output_shape(patched_shape(group, patch_)));
  Workspace::Scope scope(ctx.workspace);
  const FeatureCache& cache = state.next_cache();
  const TensorView frames = cache.open(ctx, group[0]);
  const TensorView patches = cache.new_frames(frames);
  if (patch_ == 1) {
    source(first, patches);
  } else {
    Workspace::Scope of_pixels(ctx.workspace);
    const TensorView pixels = ctx.workspace.take(DType::kF32, group);
    source(first, pixels);
    copy(ctx, {.from = patches_of_frames(pixels, patch_), .out = split_patches(patches, patch_)});
  }
  conv1_.forward(ctx, frames, x);
  ctx.tap("vae.encoder.conv1", x);
  cache.close(ctx, frames);
  return x;
}

void VaeEncoder::forward(ExecContext& ctx, StreamState& state, const FrameSource& source, std::int64_t first,
                         const Shape& group, const TensorView& latent) const {
  Workspace::Scope scope(ctx.workspace);
  TensorView x = first_convolution(ctx, state, source, first, group);  // [T, H / patch, W / patch, C]
  x = downsamples_.forward(ctx, state, x);                             // [1, h, w, C]
  middle_.forward(ctx, state, x);
  const TensorView moments = ctx.workspace.take(DType::kF32, head_.output_shape(x.shape()));  // [1, h, w, 2z]
  norm_silu_conv(ctx, state, x, head_norm_, head_, moments);
  ctx.tap("vae.encoder.head.2", moments);
  const TensorView mean = ctx.workspace.take(DType::kF32, mean_.output_shape(moments.shape()));
  mean_.forward(ctx, moments, mean);
  copy(ctx, {.from = mean.permute({3, 0, 1, 2}), .out = latent});
}

}  // namespace wan
