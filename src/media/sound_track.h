#pragma once
// The sound of a video that is written.

#include <filesystem>
#include <optional>

namespace wan {

/// A part of a file's first sound stream, and where it stands in the video. It is read again while frames are written.
struct SoundTrack {
  std::filesystem::path file;
  double start = 0;                // seconds of the file before it
  std::optional<double> duration;  // seconds; unset: to the file's end
  /// Seconds of the video before it, which are silent. Negative: so much of its beginning is left out.
  double offset = 0;
  /// Frames that begin when it is over are left out, so that the video is no longer than its sound. It is never longer than
  /// the video.
  bool ends_video = true;
};

}  // namespace wan
