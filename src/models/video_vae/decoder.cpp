#include "models/video_vae/decoder.h"

#include <utility>

#include "models/video_vae/pixel_patches.h"
#include "models/video_vae/strip_exchange.h"
#include "ops/copy.h"

namespace wan {

namespace {

/// Frames [T, H, W, 3] of patches [T, h, w, ...].
Shape frame_shape(const Shape& patches, int patch) {
  return {patches[0], patches[1] * patch, patches[2] * patch, 3};
}

}  // namespace

VaeDecoder::VaeDecoder(const WeightScope& scope, const VaeDecoderShape& shape,
                       const LatentStatistics& statistics, StageList upsamples)
    : patch_(shape.patch),
      conv2_(load_denormalizing(scope.child("conv2"), statistics)),
      conv1_(scope.child("decoder.conv1"), same_size_conv(statistics.channels(), shape.first_channels)),
      middle_(scope.child("decoder.middle"), shape.first_channels),
      upsamples_(std::move(upsamples)),
      head_norm_(load_gamma(scope.child("decoder.head.0"), {shape.last_channels, 1, 1, 1})),
      head_(scope.child("decoder.head.2"), same_size_conv(shape.last_channels, patch_channels(shape.patch))) {
}

TensorView VaeDecoder::first_convolutions(ExecContext& ctx, StreamState& state,
                                          const TensorView& latent) const {
  ctx.enter("vae.decoder.conv1");
  const Shape shape{1, latent.dim(2), latent.dim(3), latent.dim(0)};
  const TensorView x = state.take(ctx, conv1_.output_shape(shape));
  Workspace::Scope scope(ctx.workspace);
  const TensorView channels_last = ctx.workspace.take(DType::kF32, shape);
  const TensorView denormalized = ctx.workspace.take(DType::kF32, shape);
  copy(ctx, {.from = latent.permute({1, 2, 3, 0}), .out = channels_last});
  FeatureCache& cache = state.cache(ctx, conv1_, shape);
  const FrameWindow frames = cache.open(ctx, 1);
  conv2_.forward(ctx, channels_last, denormalized);
  ctx.tap("vae.conv2", denormalized);
  const TensorView first = cache.new_frames(frames);
  copy(ctx, {.from = denormalized, .out = inside_halo(first, frames.halo)});
  exchange_halo(ctx, state.strip(), first, frames.halo);
  conv1_.forward(ctx, frames, x);
  ctx.tap("vae.decoder.conv1", x);
  cache.close(ctx, frames);
  return x;
}

void VaeDecoder::forward(ExecContext& ctx, StreamState& state, const TensorView& latent,
                         const FrameConsumer& sink) const {
  Workspace::Scope scope(ctx.workspace);
  const Shape first = conv1_.output_shape({1, latent.dim(2), latent.dim(3), latent.dim(0)});
  const TensorView frames =
      ctx.workspace.take(DType::kF32, frame_shape(upsamples_.output_shape(first, state.group()), patch_));
  const TensorView x = first_convolutions(ctx, state, latent);  // [1, h, w, C]
  middle_.forward(ctx, state, x);
  std::int64_t done = 0;
  upsamples_.push(ctx, state, x,
                  {.place = [&](const Shape& shape) { return state.take_input(ctx, head_, shape); },
                   .take = [&](const TensorView& last) {  // [t, H / patch, W / patch, C]
                     head(ctx, state, last, frames.slice(0, done, done + last.dim(0)));
                     done += last.dim(0);
                   }});
  sink(frames);
}

void VaeDecoder::head(ExecContext& ctx, StreamState& state, const TensorView& x,
                      const TensorView& frames) const {
  ctx.enter("vae.decoder.head.2");
  Workspace::Scope scope(ctx.workspace);
  const TensorView patches =
      patch_ == 1 ? frames : ctx.workspace.take(DType::kF32, head_.output_shape(x.shape()));
  const TensorView rounded =
      x.dtype() == DType::kF32 ? patches : state.take(ctx, head_.output_shape(x.shape()));
  norm_silu_conv(ctx, state, x, head_norm_, head_, rounded);
  ctx.tap("vae.decoder.head.2", rounded);
  if (x.dtype() != DType::kF32) copy(ctx, {.from = rounded, .out = patches});
  if (patch_ > 1)
    copy(ctx, {.from = split_patches(patches, patch_), .out = patches_of_frames(frames, patch_)});
}

}  // namespace wan
