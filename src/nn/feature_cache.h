#pragma once
// FeatureCache: the input frames of one causal convolution while a clip streams through it, group of frames by
// group of frames: the frames seen before and the new ones side by side, so that nothing is concatenated.

#include "ops/conv3d.h"

namespace wan {

/// Where the frames seen before stay between two groups.
enum class HistoryLayout {
  kInPlace,  // every cache owns room for its new frames too
  kRing,  // likewise, for groups of one frame; the newest takes the oldest's place, so that nothing is copied
  kCompact,  // only the history stays; room for history and new frames is taken from the workspace for a group
};

/// What a convolution sees: [history + T, H, W, C], the oldest frame at `first` and the one after the last at 0. H and W count
/// the halo: so much of the convolution's padding is there already, other pixels' values among them.
struct FrameWindow {
  TensorView frames;
  std::int64_t first = 0;
  SpatialPadding halo = {};
};

struct FeatureCacheSpec {
  HistoryLayout layout = HistoryLayout::kInPlace;
  DType dtype = DType::kF32;
  int history = 0;           // frames that the convolution looks back
  Shape group;               // largest group of new frames [T, H, W, C], without the halo
  SpatialPadding halo = {};  // room round every frame
};

/// Shape of frames [T, H, W, C] with a halo round each, and the frames inside of such ones.
Shape with_halo(const Shape& frames, const SpatialPadding& halo);
TensorView inside_halo(const TensorView& frames, const SpatialPadding& halo);

/// Its memory comes from the workspace and lives as long as the Scope in which it was made.
class FeatureCache {
 public:
  FeatureCache(Workspace& workspace, const FeatureCacheSpec& spec);

  /// Before a clip: the frames before its first one are zero.
  void reset(ExecContext& ctx);
  /// The history and room for `frames` new frames, which the caller fills, the halo included. Inside a Workspace::Scope that lasts until
  /// close().
  FrameWindow open(ExecContext& ctx, std::int64_t frames) const;
  /// The new frames of an opened cache, with the halo.
  TensorView new_frames(const FrameWindow& opened) const;
  /// Keeps the last frames as the next group's history.
  void close(ExecContext& ctx, const FrameWindow& opened);

 private:
  FeatureCacheSpec spec_;
  TensorView memory_;       // [history (+ T), H, W, C]
  std::int64_t first_ = 0;  // the oldest frame of a ring
};

}  // namespace wan
