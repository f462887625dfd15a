#include "models/video_vae/stream.h"

#include <algorithm>

namespace wan {

/// A ring where that is cheaper.
FeatureCacheSpec StreamState::cache_spec(const CausalConv3d& conv, const Shape& group) const {
  const bool ring = options_.history == HistoryLayout::kInPlace && group[0] == 1 && conv.turns_cheaply(group);
  return {.layout = ring ? HistoryLayout::kRing : options_.history,
          .dtype = options_.compute,
          .history = conv.history(),
          .group = group,
          .halo = conv.shape().kernel[1] > 1 ? strip_.halo() : SpatialPadding{}};
}

StreamState::StreamState(ExecContext& ctx, const StreamPlan& plan)
    : options_(plan.options), strip_(plan.strip) {
  for (const auto& [conv, group] : plan.groups)
    caches_.emplace(conv, FeatureCache(ctx.workspace, cache_spec(*conv, group))).first->second.reset(ctx);
}

FeatureCache& StreamState::cache(ExecContext& ctx, const CausalConv3d& conv, const Shape& group) {
  if (noted_ != nullptr) {
    Shape& largest = noted_->groups.try_emplace(&conv, group).first->second;
    largest = with_frames(group, std::max(largest[0], group[0]));
    const FeatureCacheSpec spec = cache_spec(conv, group);
    return caches_.insert_or_assign(&conv, FeatureCache(ctx.workspace, spec)).first->second;
  }
  const auto found = caches_.find(&conv);
  WAN_ASSERT(found != caches_.end());
  return found->second;
}

TensorView StreamState::take_input(ExecContext& ctx, const CausalConv3d& conv, const Shape& group) {
  if (options_.history == HistoryLayout::kCompact || strip_.divided()) return take(ctx, group);
  const FeatureCache& cache = this->cache(ctx, conv, group);
  return cache.new_frames(cache.open(ctx, group[0]));
}

Shape with_frames(const Shape& group, std::int64_t frames) {
  return {frames, group[1], group[2], group[3]};
}

}  // namespace wan
