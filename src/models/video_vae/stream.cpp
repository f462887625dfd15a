#include "models/video_vae/stream.h"

#include <algorithm>

namespace wan {

void StreamPlan::open_cache(const Shape& group, int history) {
  caches_.push_back({.layout = layout_, .history = history, .group = group});
  cache_bytes_ += caches_.back().held_bytes();
  add(caches_.back().open_bytes());
}

void StreamPlan::add(std::size_t bytes) {
  held_ += bytes;
  peak_ = std::max(peak_, held_);
}

StreamState::StreamState(ExecContext& ctx, const StreamPlan& plan) {
  caches_.reserve(plan.caches().size());
  for (const FeatureCacheSpec& spec : plan.caches()) {
    caches_.emplace_back(ctx.workspace, spec);
    caches_.back().reset(ctx);
  }
}

const FeatureCache& StreamState::next_cache() {
  WAN_ASSERT(next_ < caches_.size());
  return caches_[next_++];
}

}  // namespace wan
