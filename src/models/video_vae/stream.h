#pragma once
// What a clip needs while it streams through the encoder or the decoder: feature caches, and the memory plan that
// is made by the same walk over the layers.

#include <map>

#include "nn/causal_conv3d.h"

namespace wan {

/// Which of a clip's groups of frames.
enum class GroupKind {
  kFirst,  // one frame, which the time layers let pass
  kLater,
};

/// How a group's frames go through the layers.
enum class GroupWalk {
  kWhole,         // all frames through a layer, then through the next
  kFrameByFrame,  // each through all layers, as far as the time layers let it: activations and caches of one frame
};

struct StreamOptions {
  GroupWalk walk = GroupWalk::kWhole;
  HistoryLayout history = HistoryLayout::kInPlace;
  DType compute = DType::kF32;  // of activations between the layers

  /// How many of a group's frames a layer without a time stride sees at once.
  std::int64_t frames_at_once(std::int64_t frames) const { return walk == GroupWalk::kWhole ? frames : 1; }
};

/// Filled by the layers' plan() functions, which take and give back what their forward() does, for the largest
/// group of frames.
class StreamPlan {
 public:
  explicit StreamPlan(const StreamOptions& options) : options_(options) {}

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

  const StreamOptions& options() const { return options_; }

  /// In the precision of the options.
  void take(const Shape& shape) { take(options_.compute, shape); }
  void take(DType dtype, const Shape& shape) { add(Workspace::padded_bytes(dtype, shape)); }
  /// As StreamState::take_input.
  void take_input(const CausalConv3d& conv, const Shape& group);
  /// The feature cache of `conv` for groups of up to `group` [T, H, W, C], and the convolution, from the opening to the
  /// end of the caller's Scope. A ring where that is cheaper.
  void open_cache(const CausalConv3d& conv, const Shape& group);

  const std::map<const CausalConv3d*, FeatureCacheSpec>& caches() const { return caches_; }
  /// Workspace bytes of the whole walk, caches included.
  std::size_t peak_bytes() const { return cache_bytes_ + peak_; }

 private:
  void add(std::size_t bytes);

  StreamOptions options_;
  std::map<const CausalConv3d*, FeatureCacheSpec> caches_;
  std::size_t cache_bytes_ = 0;
  std::size_t held_ = 0;
  std::size_t peak_ = 0;
};

/// The caches of one pass.
class StreamState {
 public:
  /// Takes all of it from the workspace; lives inside the caller's Scope.
  StreamState(ExecContext& ctx, const StreamPlan& plan);

  /// Before each group of frames.
  void begin_group(GroupKind group) { group_ = group; }
  GroupKind group() const { return group_; }
  const StreamOptions& options() const { return options_; }
  /// Scratch memory in the precision of the options.
  TensorView take(ExecContext& ctx, const Shape& shape) const {
    return ctx.workspace.take(options_.compute, shape);
  }
  FeatureCache& cache(const CausalConv3d& conv);
  /// Memory for frames that `conv` takes next, perhaps after a norm: its cache's own, so that they are there already
  /// when it opens, or where that holds no new frames, the workspace's.
  TensorView take_input(ExecContext& ctx, const CausalConv3d& conv, const Shape& group);

 private:
  StreamOptions options_;
  std::map<const CausalConv3d*, FeatureCache> caches_;
  GroupKind group_ = GroupKind::kFirst;
};

/// [T, ...] with another number of frames.
Shape with_frames(const Shape& group, std::int64_t frames);

}  // namespace wan
