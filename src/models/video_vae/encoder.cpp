#include "models/video_vae/encoder.h"

#include <utility>

#include "models/video_vae/pixel_patches.h"
#include "models/video_vae/strip_exchange.h"
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

void VaeEncoder::take_pixels(ExecContext& ctx, const Strip& strip, const FrameFill& source,
                             const TensorView& pixels) const {
  if (!strip.divided()) return source(pixels);
  const Workspace::Scope scope(ctx.workspace);
  const TensorView whole = ctx.workspace.take(pixels.dtype(), strip.whole_of(pixels.shape()));
  source(whole);
  copy(ctx, {.from = strip.part_of(whole, 1), .out = pixels});
}

void VaeEncoder::first_convolution(ExecContext& ctx, StreamState& state, const FrameFill& source,
                                   const Shape& group, const TensorView& x) const {
  Workspace::Scope scope(ctx.workspace);
  FeatureCache& cache = state.cache(ctx, conv1_, patched_shape(group, patch_));
  const FrameWindow frames = cache.open(ctx, group[0]);
  const TensorView with_neighbours = cache.new_frames(frames);
  const TensorView first = inside_halo(with_neighbours, frames.halo);
  const bool in_place = x.dtype() == DType::kF32 && first.is_contiguous();
  const TensorView patches = in_place ? first : ctx.workspace.take(DType::kF32, first.shape());
  if (patch_ == 1) {
    take_pixels(ctx, state.strip(), source, patches);
  } else {
    Workspace::Scope of_pixels(ctx.workspace);
    const TensorView pixels = ctx.workspace.take(DType::kF32, group);
    take_pixels(ctx, state.strip(), source, pixels);
    copy(ctx, {.from = patches_of_frames(pixels, patch_), .out = split_patches(patches, patch_)});
  }
  if (!in_place) copy(ctx, {.from = patches, .out = first});
  exchange_halo(ctx, state.strip(), with_neighbours, frames.halo);
  ctx.enter("vae.encoder.conv1");
  conv1_.forward(ctx, frames, x);
  ctx.tap("vae.encoder.conv1", x);
  cache.close(ctx, frames);
}

void VaeEncoder::forward(ExecContext& ctx, StreamState& state, const FrameSource& source, std::int64_t first,
                         const Shape& group, const TensorView& latent) const {
  Workspace::Scope scope(ctx.workspace);
  const Shape full = conv1_.output_shape(patched_shape(group, patch_));  // [T, H / patch, W / patch, C]
  const TensorView x = state.take(ctx, downsamples_.output_shape(full, state.group()));  // [1, h, w, C]
  std::int64_t next = first;
  const FrameFill next_frames = [&](const TensorView& frames) {
    source(next, frames);
    next += frames.dim(0);
  };
  downsamples_.pull(
      ctx, state, full,
      [&](const TensorView& out) {
        first_convolution(ctx, state, next_frames, with_frames(group, out.dim(0)), out);
      },
      x);
  middle_.forward(ctx, state, x);
  ctx.enter("vae.encoder.head.2");
  const TensorView moments = state.take(ctx, head_.output_shape(x.shape()));  // [1, h, w, 2z]
  norm_silu_conv(ctx, state, x, head_norm_, head_, moments);
  ctx.tap("vae.encoder.head.2", moments);
  TensorView exact = moments;
  if (moments.dtype() != DType::kF32) {
    exact = ctx.workspace.take(DType::kF32, moments.shape());
    copy(ctx, {.from = moments, .out = exact});
  }
  const TensorView mean = ctx.workspace.take(DType::kF32, mean_.output_shape(moments.shape()));
  mean_.forward(ctx, exact, mean);
  copy(ctx, {.from = mean.permute({3, 0, 1, 2}), .out = latent});
}

}  // namespace wan
