#pragma once
// Overlapping tiles along an axis, their blending weights, and the sum of blended tiles.

#include <vector>

#include "ops/exec_context.h"

namespace wan {

/// [begin, end) of an axis.
struct TileSpan {
  std::int64_t begin;
  std::int64_t end;

  std::int64_t size() const { return end - begin; }
};

/// Tiles of `tile` elements that cover [0, extent), as few as share at least `overlap` elements with the next one,
/// evenly spread. One span where tile >= extent. Needs 0 <= overlap < tile.
std::vector<TileSpan> tile_spans(std::int64_t extent, std::int64_t tile, std::int64_t overlap);

/// Weight of span `index` at each of its elements times `stride`: 1 where it is alone, a linear ramp where it
/// overlaps with a neighbour. The weights of all spans add up to 1 at every place.
std::vector<float> blend_weights(const std::vector<TileSpan>& spans, std::size_t index, std::int64_t stride);

/// One tile of a plane of tiles, adding its frames to the whole.
class TileBlend {
 public:
  /// For a tile [H, W, channels] with these weights of its rows and columns. Takes memory from the workspace that
  /// lives as long as the caller's Scope.
  TileBlend(ExecContext& ctx, const std::vector<float>& rows, const std::vector<float>& columns,
            std::int64_t channels);

  /// whole += weights * frame, both [H, W, channels] f32: frame contiguous, whole with any strides.
  void add(ExecContext& ctx, const TensorView& frame, const TensorView& whole) const;

 private:
  TensorView weights_;  // [H, W channels]
  TensorView sum_;      // [H, W channels]
  std::vector<std::int64_t> row_ends_;
};

}  // namespace wan
