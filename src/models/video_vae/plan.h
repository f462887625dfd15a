#pragma once
// Choosing how a clip is computed within a given memory.

#include <functional>
#include <map>
#include <tuple>

#include "models/video_vae.h"

namespace wan {

/// Workspace bytes of a clip under a plan (whose own `bytes` is not looked at).
using PlanBytes = std::function<std::size_t(const VaePlan& plan)>;

/// The ways to compute a clip. Asks for the bytes of each once, and only where they matter.
class VaePlans {
 public:
  /// `what` ("VAE decode") begins the messages. Throws InvalidArgument for an empty extent.
  VaePlans(const char* what, const LatentExtent& extent, PlanBytes bytes);

  /// The least memory that does without tiles.
  std::size_t whole_frames_bytes();
  /// The first of the ways that stays within `byte_budget` (0: no limit), in this order: whole groups where they are small,
  /// then frame by frame, then (or beyond 12 GB) with compact history, then tiles, by what they compute twice. Throws OutOfMemory,
  /// with the bytes that would do, where not even the smallest tile fits.
  VaePlan within(std::size_t byte_budget);

 private:
  VaePlan counted(VaePlan plan);
  VaePlan tiles_within(std::size_t byte_budget);
  /// Whole frames.
  VaePlan whole(bool frame_by_frame, bool compact_history);

  const char* what_;
  LatentExtent extent_;
  PlanBytes bytes_;
  std::map<std::tuple<bool, bool, std::int64_t, std::int64_t>, std::size_t> known_;
};

}  // namespace wan
