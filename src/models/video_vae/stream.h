#pragma once
// What a clip needs while it streams through the encoder or the decoder: feature caches, and the memory plan that
// is made by the same walk over the layers.

#include <vector>

#include "nn/feature_cache.h"

namespace wan {

/// Which of a clip's groups of frames.
enum class GroupKind {
  kFirst,  // one frame, which the time layers let pass
  kLater,
};

/// Filled by the layers' plan() functions, which take and give back what their forward() does, for the largest
/// group of frames.
class StreamPlan {
 public:
  explicit StreamPlan(HistoryLayout layout) : layout_(layout) {}

  /// As Workspace::Scope.
  class Scope {
   public:
    explicit Scope(StreamPlan& plan) : plan_(plan), held_(plan.held_) {}
    ~Scope() { plan_.held_ = held_; }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    StreamPlan& plan_;
    std::size_t held_;
  };

  void take(const Shape& shape) { add(Workspace::padded_bytes(DType::kF32, shape)); }
  /// A feature cache for groups of up to `group` [T, H, W, C], from its opening to the end of the caller's Scope.
  void open_cache(const Shape& group, int history);

  const std::vector<FeatureCacheSpec>& caches() const { return caches_; }
  /// Workspace bytes of the whole walk, caches included.
  std::size_t peak_bytes() const { return cache_bytes_ + peak_; }

 private:
  void add(std::size_t bytes);

  HistoryLayout layout_;
  std::vector<FeatureCacheSpec> caches_;
  std::size_t cache_bytes_ = 0;
  std::size_t held_ = 0;
  std::size_t peak_ = 0;
};

/// The caches of one pass, in the order in which the layers use them.
class StreamState {
 public:
  /// Takes all of it from the workspace; lives inside the caller's Scope.
  StreamState(ExecContext& ctx, const StreamPlan& plan);

  /// Before each group of frames.
  void begin_group(GroupKind group) {
    next_ = 0;
    group_ = group;
  }
  GroupKind group() const { return group_; }
  const FeatureCache& next_cache();

 private:
  std::vector<FeatureCache> caches_;
  std::size_t next_ = 0;
  GroupKind group_ = GroupKind::kFirst;
};

}  // namespace wan
