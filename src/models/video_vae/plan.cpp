#include "models/video_vae/plan.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "models/video_vae/tiling.h"

namespace wan {

namespace {

constexpr std::int64_t kSmallestTile = 4;  // latents

// Whole groups take up to twice the memory and are 5% faster (a CPU, 32 channels, 448 x 256): worth it while small.
constexpr std::size_t kLargestWholeGroup = std::size_t{1} << 30;

// Past and new frames of a feature cache side by side need no copies: VAE 2.1 decodes 81 frames of 1280 x 720 in 2.75 s instead
// of 3.29 s (an H200) with a quarter more memory. Beyond this the memory is worth more: that clip fits a 16 GB device.
constexpr std::size_t kLargestInPlace = std::size_t{12} << 30;

/// What a tile shares with each neighbour: a quarter, or 8 latents where that is more (with random weights the
/// seams are at 36 dB with 4 latents, 42 dB with 8, 46 dB with 12), but never more than half.
std::int64_t overlap_of(std::int64_t tile) {
  return std::min(std::max<std::int64_t>(tile / 4, 8), tile / 2);
}

struct AxisTiling {
  std::int64_t tile;
  std::int64_t overlap;
  std::int64_t count;
};

/// The whole extent, then for each number of tiles the smallest tile with which they cover it.
std::vector<AxisTiling> axis_tilings(std::int64_t extent) {
  std::vector<AxisTiling> tilings;
  for (std::int64_t tile = kSmallestTile; tile < extent; ++tile) {
    const std::int64_t overlap = overlap_of(tile);
    const auto count = static_cast<std::int64_t>(tile_spans(extent, tile, overlap).size());
    if (tilings.empty() || count < tilings.back().count) tilings.push_back({tile, overlap, count});
  }
  tilings.push_back({extent, 0, 1});
  std::reverse(tilings.begin(), tilings.end());
  return tilings;
}

struct Tiling {
  AxisTiling rows, columns;
  std::int64_t work;  // latents computed, overlaps counted as often as they are
};

/// All that have more than one tile, the least work first.
std::vector<Tiling> tilings(const LatentExtent& extent) {
  std::vector<Tiling> result;
  for (const AxisTiling& rows : axis_tilings(extent.height))
    for (const AxisTiling& columns : axis_tilings(extent.width))
      if (rows.count * columns.count > 1)
        result.push_back({rows, columns, rows.count * rows.tile * columns.count * columns.tile});
  std::stable_sort(result.begin(), result.end(),
                   [](const Tiling& a, const Tiling& b) { return a.work < b.work; });
  return result;
}

}  // namespace

VaePlans::VaePlans(const char* what, const LatentExtent& extent, PlanBytes bytes)
    : what_(what), extent_(extent), bytes_(std::move(bytes)) {
  WAN_CHECK(extent.frames >= 1 && extent.height >= 1 && extent.width >= 1, kInvalidArgument,
            "[{}] expected at least one latent frame, row and column, got {} x {} x {}", what, extent.frames,
            extent.height, extent.width);
}

VaePlan VaePlans::counted(VaePlan plan) {
  const auto [known, added] = known_.try_emplace(
      {plan.frame_by_frame, plan.compact_history, plan.tile_height, plan.tile_width}, std::size_t{0});
  if (added) known->second = bytes_(plan);
  plan.bytes = known->second;
  return plan;
}

VaePlan VaePlans::whole(bool frame_by_frame, bool compact_history) {
  return counted({.frame_by_frame = frame_by_frame,
                  .compact_history = compact_history,
                  .tile_height = extent_.height,
                  .tile_width = extent_.width});
}

std::size_t VaePlans::whole_frames_bytes() {
  return std::min(whole(true, false).bytes, whole(true, true).bytes);
}

VaePlan VaePlans::within(std::size_t byte_budget) {
  const auto fits = [&](const VaePlan& plan) { return byte_budget == 0 || plan.bytes <= byte_budget; };
  const VaePlan group = whole(false, false);
  if (group.bytes <= kLargestWholeGroup && fits(group)) return group;
  const VaePlan in_place = whole(true, false);
  if (in_place.bytes <= kLargestInPlace && fits(in_place)) return in_place;
  const VaePlan compact = whole(true, true);
  return fits(compact) ? compact : tiles_within(byte_budget);
}

VaePlan VaePlans::tiles_within(std::size_t byte_budget) {
  const auto tiled = [&](const Tiling& tiling) {
    return counted({.frame_by_frame = true,
                    .compact_history = true,
                    .tile_height = tiling.rows.tile,
                    .tile_width = tiling.columns.tile,
                    .overlap_height = tiling.rows.overlap,
                    .overlap_width = tiling.columns.overlap});
  };
  const std::vector<Tiling> all = tilings(extent_);
  std::size_t least_bytes = whole(true, true).bytes;
  // Where not even the smallest fit, none of the many others need be counted.
  const auto smallest = std::min_element(all.begin(), all.end(), [](const Tiling& a, const Tiling& b) {
    return a.rows.tile * a.columns.tile < b.rows.tile * b.columns.tile;
  });
  if (smallest != all.end()) least_bytes = std::min(least_bytes, tiled(*smallest).bytes);
  std::vector<std::pair<std::int64_t, std::int64_t>> too_large;  // neither are tiles that hold one of these
  for (const Tiling& tiling : all) {
    if (least_bytes > byte_budget) break;
    const auto holds = [&](const auto& tile) {
      return tiling.rows.tile >= tile.first && tiling.columns.tile >= tile.second;
    };
    if (std::any_of(too_large.begin(), too_large.end(), holds)) continue;
    const VaePlan plan = tiled(tiling);
    if (plan.bytes <= byte_budget) return plan;
    too_large.emplace_back(tiling.rows.tile, tiling.columns.tile);
  }
  fail(ErrorCode::kOutOfMemory,
       "{} needs {:.2f} GB for frames of {} x {} latents even in the smallest tiles, {:.2f} GB are left for "
       "it; "
       "choose a smaller `size` or free memory",
       what_, static_cast<double>(least_bytes) * 1e-9, extent_.height, extent_.width,
       static_cast<double>(byte_budget) * 1e-9);
}

}  // namespace wan
