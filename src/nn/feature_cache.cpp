#include "nn/feature_cache.h"

#include <algorithm>

#include "ops/copy.h"
#include "ops/fill_zero.h"

namespace wan {

namespace {

Shape frames_of(const FeatureCacheSpec& spec, std::int64_t frames) {
  return with_halo({frames, spec.group[1], spec.group[2], spec.group[3]}, spec.halo);
}

std::int64_t held_frames(const FeatureCacheSpec& spec) {
  return spec.layout == HistoryLayout::kCompact ? spec.history : spec.history + spec.group[0];
}

}  // namespace

Shape with_halo(const Shape& frames, const SpatialPadding& halo) {
  return {frames[0], frames[1] + halo.top + halo.bottom, frames[2] + halo.left + halo.right, frames[3]};
}

TensorView inside_halo(const TensorView& frames, const SpatialPadding& halo) {
  return frames.slice(1, halo.top, frames.dim(1) - halo.bottom)
      .slice(2, halo.left, frames.dim(2) - halo.right);
}

FeatureCache::FeatureCache(Workspace& workspace, const FeatureCacheSpec& spec) : spec_(spec) {
  WAN_ASSERT(spec.layout != HistoryLayout::kRing || spec.group[0] == 1);
  memory_ = workspace.take(spec.dtype, frames_of(spec, held_frames(spec)));
}

void FeatureCache::reset(ExecContext& ctx) {
  first_ = 0;
  const TensorView past = memory_.slice(0, 0, spec_.history);
  fill_zero(ctx, past.reshape({past.dim(0) * past.dim(1), past.dim(2) * past.dim(3)}));
}

FrameWindow FeatureCache::open(ExecContext& ctx, std::int64_t frames) const {
  WAN_ASSERT(frames >= 1 && frames <= spec_.group[0]);
  if (spec_.layout != HistoryLayout::kCompact)
    return {memory_.slice(0, 0, spec_.history + frames), first_, spec_.halo};
  const TensorView opened = ctx.workspace.take(spec_.dtype, frames_of(spec_, spec_.history + frames));
  copy(ctx, {.from = memory_, .out = opened.slice(0, 0, spec_.history)});
  return {opened, 0, spec_.halo};
}

TensorView FeatureCache::new_frames(const FrameWindow& opened) const {
  const std::int64_t count = opened.frames.dim(0);
  if (spec_.layout != HistoryLayout::kRing) return opened.frames.slice(0, spec_.history, count);
  const std::int64_t newest = (opened.first + spec_.history) % count;
  return opened.frames.slice(0, newest, newest + 1);
}

void FeatureCache::close(ExecContext& ctx, const FrameWindow& opened) {
  const std::int64_t frames = opened.frames.dim(0) - spec_.history;
  if (spec_.layout == HistoryLayout::kRing) {
    first_ = (first_ + 1) % memory_.dim(0);
    return;
  }
  // Source and destination of one copy must not overlap: in place, no more than `frames` frames at once.
  const std::int64_t step = spec_.layout == HistoryLayout::kInPlace ? frames : spec_.history;
  for (std::int64_t first = 0; first < spec_.history; first += step) {
    const std::int64_t last = std::min<std::int64_t>(first + step, spec_.history);
    copy(ctx, {.from = opened.frames.slice(0, frames + first, frames + last),
               .out = memory_.slice(0, first, last)});
  }
}

}  // namespace wan
