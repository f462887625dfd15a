#pragma once
// What a clip needs while it streams through the encoder or the decoder: the feature caches of its convolutions.

#include <map>

#include "models/video_vae/strip.h"
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

/// How a clip streams, this rank's part of it, and the largest group of frames [T, H, W, C] that each convolution's cache takes.
struct StreamPlan {
  StreamOptions options;
  Strip strip;
  std::map<const CausalConv3d*, Shape> groups;
};

/// The caches of one pass.
class StreamState {
 public:
  /// Takes the caches from the workspace; lives inside the caller's Scope.
  StreamState(ExecContext& ctx, const StreamPlan& plan);
  /// For a rehearsal (ops/counting_backend.h): notes in `plan` which groups the layers ask caches for.
  static StreamState noting(StreamPlan& plan) { return StreamState(plan); }

  /// Before each group of frames.
  void begin_group(GroupKind group) { group_ = group; }
  GroupKind group() const { return group_; }
  const StreamOptions& options() const { return options_; }
  const Strip& strip() const { return strip_; }
  /// Scratch memory in the precision of the options.
  TensorView take(ExecContext& ctx, const Shape& shape) const {
    return ctx.workspace.take(options_.compute, shape);
  }
  /// For a group [T, H, W, C] of frames that `conv` takes next, with the strip's halo where it looks at a pixel's neighbours.
  FeatureCache& cache(ExecContext& ctx, const CausalConv3d& conv, const Shape& group);
  /// Memory for such frames, perhaps before a norm: the cache's own, so that they are there already when it opens, or
  /// where that holds no new frames or a halo between them, the workspace's.
  TensorView take_input(ExecContext& ctx, const CausalConv3d& conv, const Shape& group);

 private:
  explicit StreamState(StreamPlan& noted) : options_(noted.options), strip_(noted.strip), noted_(&noted) {}
  FeatureCacheSpec cache_spec(const CausalConv3d& conv, const Shape& group) const;

  StreamOptions options_;
  Strip strip_;
  StreamPlan* noted_ = nullptr;
  std::map<const CausalConv3d*, FeatureCache> caches_;
  GroupKind group_ = GroupKind::kFirst;
};

/// [T, ...] with another number of frames.
Shape with_frames(const Shape& group, std::int64_t frames);

}  // namespace wan
