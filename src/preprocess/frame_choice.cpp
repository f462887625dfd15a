#include "preprocess/frame_choice.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace wan {

FrameChoice choose_frames(std::int64_t frames, double video_fps, double duration, double fps) {
  WAN_CHECK(frames > 0 && video_fps > 0 && fps >= 0, kInternal, "[frames] {} at {} and {} a second", frames,
            video_fps, fps);
  FrameChoice choice{.fps = fps > 0 ? fps : video_fps, .indices = {}};
  const auto expected = static_cast<std::int64_t>(duration * video_fps + 0.5);
  std::int64_t counted = frames;
  constexpr double kTooFar = 0.1;
  if (std::abs(static_cast<double>(frames - expected) / static_cast<double>(frames)) > kTooFar) {
    counted = std::max<std::int64_t>(expected, 1);
    choice.by_duration = true;
  }
  const auto target = static_cast<std::int64_t>(static_cast<double>(counted) / video_fps * choice.fps);
  for (std::int64_t i = 0; i < target; ++i) {
    const double at = static_cast<double>(i) / choice.fps * video_fps;
    choice.indices.push_back(std::clamp<std::int64_t>(std::llrint(at), 0, std::min(counted, frames) - 1));
  }
  return choice;
}

}  // namespace wan
