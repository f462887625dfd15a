#pragma once
// Which frames of a video preprocessing takes.

#include <cstdint>
#include <vector>

namespace wan {

struct FrameChoice {
  double fps = 0;                     // of what is made
  std::vector<std::int64_t> indices;  // into the video's frames; never falling
  bool by_duration = false;           // the number of frames was not believed
};

/// `frames` frames at `video_fps`, the last of which ends `duration` seconds after the first one's beginning, as int(frames / video_fps * fps) frames at `fps` (0: the video's own
/// rate): the one at the time of each, halves to even. Where the duration says that more than a tenth of the frames is missing or too many, it counts.
FrameChoice choose_frames(std::int64_t frames, double video_fps, double duration, double fps);

}  // namespace wan
