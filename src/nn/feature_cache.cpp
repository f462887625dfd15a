#include "nn/feature_cache.h"

#include <algorithm>

#include "nn/fill_zero.h"
#include "ops/copy.h"

namespace wan {

namespace {

Shape frames_of(const FeatureCacheSpec& spec, std::int64_t frames) {
  return {frames, spec.group[1], spec.group[2], spec.group[3]};
}

}  // namespace

std::size_t FeatureCacheSpec::held_bytes() const {
  const std::int64_t frames = layout == HistoryLayout::kInPlace ? history + group[0] : history;
  return Workspace::padded_bytes(DType::kF32, frames_of(*this, frames));
}

std::size_t FeatureCacheSpec::open_bytes() const {
  if (layout == HistoryLayout::kInPlace) return 0;
  return Workspace::padded_bytes(DType::kF32, frames_of(*this, history + group[0]));
}

FeatureCache::FeatureCache(Workspace& workspace, const FeatureCacheSpec& spec) : spec_(spec) {
  const std::int64_t frames = spec.history + (spec.layout == HistoryLayout::kInPlace ? spec.group[0] : 0);
  memory_ = workspace.take(DType::kF32, frames_of(spec, frames));
}

void FeatureCache::reset(ExecContext& ctx) const {
  const TensorView past = memory_.slice(0, 0, spec_.history);
  fill_zero(ctx, past.reshape({past.dim(0) * past.dim(1), past.dim(2) * past.dim(3)}));
}

TensorView FeatureCache::open(ExecContext& ctx, std::int64_t frames) const {
  WAN_ASSERT(frames >= 1 && frames <= spec_.group[0]);
  if (spec_.layout == HistoryLayout::kInPlace) return memory_.slice(0, 0, spec_.history + frames);
  const TensorView opened = ctx.workspace.take(DType::kF32, frames_of(spec_, spec_.history + frames));
  copy(ctx, {.from = memory_, .out = opened.slice(0, 0, spec_.history)});
  return opened;
}

void FeatureCache::close(ExecContext& ctx, const TensorView& opened) const {
  const std::int64_t frames = opened.dim(0) - spec_.history;
  // Source and destination of one copy must not overlap: in place, no more than `frames` frames at once.
  const std::int64_t step = spec_.layout == HistoryLayout::kInPlace ? frames : spec_.history;
  for (std::int64_t first = 0; first < spec_.history; first += step) {
    const std::int64_t last = std::min<std::int64_t>(first + step, spec_.history);
    copy(ctx, {.from = opened.slice(0, frames + first, frames + last), .out = memory_.slice(0, first, last)});
  }
}

}  // namespace wan
