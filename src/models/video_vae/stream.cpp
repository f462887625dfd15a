#include "models/video_vae/stream.h"

#include <algorithm>

namespace wan {

void StreamPlan::take_input(const CausalConv3d&, const Shape& group) {
  if (options_.history == HistoryLayout::kCompact) take(group);
}

void StreamPlan::open_cache(const CausalConv3d& conv, const Shape& group) {
  FeatureCacheSpec spec{
      .layout = options_.history, .dtype = options_.compute, .history = conv.history(), .group = group};
  const bool ring = spec.layout == HistoryLayout::kInPlace && group[0] == 1 && conv.turns_cheaply(group);
  if (ring) spec.layout = HistoryLayout::kRing;
  const bool added = caches_.emplace(&conv, spec).second;
  WAN_ASSERT(added);
  cache_bytes_ += spec.held_bytes();
  add(spec.open_bytes());
  if (ring) take(conv.weight_shape());
}

void StreamPlan::add(std::size_t bytes) {
  held_ += bytes;
  peak_ = std::max(peak_, held_);
}

StreamState::StreamState(ExecContext& ctx, const StreamPlan& plan) : options_(plan.options()) {
  for (const auto& [conv, spec] : plan.caches())
    caches_.emplace(conv, FeatureCache(ctx.workspace, spec)).first->second.reset(ctx);
}

FeatureCache& StreamState::cache(const CausalConv3d& conv) {
  const auto found = caches_.find(&conv);
  WAN_ASSERT(found != caches_.end());
  return found->second;
}

TensorView StreamState::take_input(ExecContext& ctx, const CausalConv3d& conv, const Shape& group) {
  if (options_.history == HistoryLayout::kCompact) return take(ctx, group);
  const FeatureCache& cache = this->cache(conv);
  return cache.new_frames(cache.open(ctx, group[0]));
}

Shape with_frames(const Shape& group, std::int64_t frames) {
  return {frames, group[1], group[2], group[3]};
}

}  // namespace wan
