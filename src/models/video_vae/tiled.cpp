#include "models/video_vae/tiled.h"

#include <algorithm>

#include "models/video_vae/tiling.h"
#include "ops/copy.h"
#include "ops/fill_zero.h"

namespace wan {

namespace {

struct TileGrid {
  std::vector<TileSpan> rows;
  std::vector<TileSpan> columns;

  TileGrid(const LatentExtent& extent, const VaePlan& plan)
      : rows(tile_spans(extent.height, plan.tile_height, plan.overlap_height)),
        columns(tile_spans(extent.width, plan.tile_width, plan.overlap_width)) {}
  bool single() const { return rows.size() * columns.size() == 1; }
  std::size_t rows_of(TileSet tiles) const { return tiles == TileSet::kFirst ? 1 : rows.size(); }
  std::size_t columns_of(TileSet tiles) const { return tiles == TileSet::kFirst ? 1 : columns.size(); }
};

LatentExtent extent_of(const TensorView& latents) {
  return {latents.dim(1), latents.dim(2), latents.dim(3)};
}

/// [.., H, W, ..] -> rows and columns of a tile.
TensorView crop(const TensorView& view, int row_dim, const TileSpan& rows, const TileSpan& columns,
                std::int64_t stride) {
  return view.slice(row_dim, rows.begin * stride, rows.end * stride)
      .slice(row_dim + 1, columns.begin * stride, columns.end * stride);
}

/// The most frames that an encoder asks for at once.
std::int64_t frames_asked(const VaeGeometry& geometry, std::int64_t latent_frames, const VaePlan& plan) {
  if (plan.frame_by_frame) return 1;
  return std::min<std::int64_t>(geometry.frames(latent_frames), geometry.temporal_stride);
}

}  // namespace

void decode_tiled(ExecContext& ctx, const VaeGeometry& geometry, const VaePlan& plan,
                  const TensorView& latents, const FrameConsumer& sink, const DecodeTile& decode,
                  TileSet tiles) {
  const LatentExtent extent = extent_of(latents);
  const TileGrid grid(extent, plan);
  if (grid.single()) return decode(latents, sink);

  if (ctx.communicator.rank() != 0) {
    for (const TileSpan& rows : grid.rows)
      for (const TileSpan& columns : grid.columns) decode(crop(latents, 2, rows, columns, 1), sink);
    return;
  }
  Workspace::Scope scope(ctx.workspace);
  const std::int64_t stride = geometry.spatial_stride;
  const std::int64_t frames = geometry.frames(extent.frames);
  const TensorView clip =
      ctx.workspace.take(DType::kF32, {frames, extent.height * stride, extent.width * stride, 3});
  fill_zero(ctx, clip);
  for (std::size_t i = 0; i < grid.rows_of(tiles); ++i) {
    for (std::size_t j = 0; j < grid.columns_of(tiles); ++j) {
      Workspace::Scope tile_scope(ctx.workspace);
      const TileBlend blend(ctx, blend_weights(grid.rows, i, stride), blend_weights(grid.columns, j, stride),
                            3);
      const TensorView part = crop(clip, 1, grid.rows[i], grid.columns[j], stride);
      std::int64_t first = 0;
      decode(crop(latents, 2, grid.rows[i], grid.columns[j], 1), [&](const TensorView& group) {
        for (std::int64_t t = 0; t < group.dim(0); ++t)
          blend.add(ctx, group.select(0, t), part.select(0, first + t));
        first += group.dim(0);
      });
    }
  }
  for (std::int64_t first = 0; first < frames;) {
    ctx.check_cancelled();
    const std::int64_t last = first == 0 ? 1 : first + geometry.temporal_stride;
    sink(clip.slice(0, first, last));
    first = last;
  }
}

void encode_tiled(ExecContext& ctx, const VaeGeometry& geometry, const VaePlan& plan,
                  const FrameSource& source, const TensorView& latents, const EncodeTile& encode,
                  TileSet tiles) {
  const LatentExtent extent = extent_of(latents);
  const TileGrid grid(extent, plan);
  if (grid.single()) return encode(source, latents);

  Workspace::Scope scope(ctx.workspace);
  const std::int64_t stride = geometry.spatial_stride;
  fill_zero(ctx, latents);
  const TensorView whole_group = ctx.workspace.take(
      DType::kF32,
      {frames_asked(geometry, extent.frames, plan), extent.height * stride, extent.width * stride, 3});
  for (std::size_t i = 0; i < grid.rows_of(tiles); ++i) {
    for (std::size_t j = 0; j < grid.columns_of(tiles); ++j) {
      Workspace::Scope tile_scope(ctx.workspace);
      const TileBlend blend(ctx, blend_weights(grid.rows, i, 1), blend_weights(grid.columns, j, 1), 1);
      const TensorView tile = ctx.workspace.take(
          DType::kF32, {geometry.z_dim, extent.frames, grid.rows[i].size(), grid.columns[j].size()});
      const auto cut = [&](std::int64_t first, const TensorView& frames) {
        const TensorView whole = whole_group.slice(0, 0, frames.dim(0));
        source(first, whole);
        copy(ctx, {.from = crop(whole, 1, grid.rows[i], grid.columns[j], stride), .out = frames});
      };
      encode(cut, tile);
      const TensorView part = crop(latents, 2, grid.rows[i], grid.columns[j], 1);
      const Shape plane{tile.dim(2), tile.dim(3), 1};
      for (std::int64_t z = 0; z < geometry.z_dim; ++z) {
        for (std::int64_t f = 0; f < extent.frames; ++f) {
          const TensorView target = part.slice(0, z, z + 1).select(1, f);  // [1, h, w]
          blend.add(ctx, tile.select(0, z).select(0, f).reshape(plane), target.permute({1, 2, 0}));
        }
      }
    }
  }
}

}  // namespace wan
