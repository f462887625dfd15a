#include "models/video_vae/plan.h"

#include <algorithm>
#include <optional>
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

}  // namespace

VaePlan choose_plan(const char* what, const LatentExtent& extent, std::size_t byte_budget,
                    const PlanBytes& bytes) {
  const auto fits = [&](const VaePlan& plan) { return byte_budget == 0 || plan.bytes <= byte_budget; };
  WAN_CHECK(extent.frames >= 1 && extent.height >= 1 && extent.width >= 1, kInvalidArgument,
            "[{}] expected at least one latent frame, row and column, got {} x {} x {}", what, extent.frames,
            extent.height, extent.width);
  VaePlan plan{.tile_height = extent.height, .tile_width = extent.width};
  plan.bytes = bytes(plan);
  if (plan.bytes <= kLargestWholeGroup && fits(plan)) return plan;
  plan.frame_by_frame = true;
  plan.bytes = bytes(plan);
  if (plan.bytes <= kLargestInPlace && fits(plan)) return plan;
  plan.compact_history = true;
  plan.bytes = bytes(plan);
  if (fits(plan)) return plan;
  std::optional<VaePlan> best;
  std::int64_t best_work = 0;  // latents computed, overlaps counted as often as they are
  std::size_t least_bytes = plan.bytes;
  for (const AxisTiling& rows : axis_tilings(extent.height)) {
    for (const AxisTiling& columns : axis_tilings(extent.width)) {
      const std::int64_t work = rows.count * rows.tile * columns.count * columns.tile;
      if (rows.count * columns.count == 1 || (best && work >= best_work)) continue;
      plan.tile_height = rows.tile;
      plan.tile_width = columns.tile;
      plan.overlap_height = rows.overlap;
      plan.overlap_width = columns.overlap;
      plan.bytes = bytes(plan);
      least_bytes = std::min(least_bytes, plan.bytes);
      if (plan.bytes > byte_budget) continue;
      best = plan;
      best_work = work;
    }
  }
  WAN_CHECK(best, kOutOfMemory,
            "{} needs {:.2f} GB for frames of {} x {} latents even in the smallest tiles, {:.2f} GB are left "
            "for it; "
            "choose a smaller --size or free memory",
            what, static_cast<double>(least_bytes) * 1e-9, extent.height, extent.width,
            static_cast<double>(byte_budget) * 1e-9);
  return *best;
}

}  // namespace wan
