#pragma once
// The sound of a video that is written.

#include <filesystem>
#include <optional>

namespace wan {

/// A part of a file's first sound stream, which begins with the video. It is read again while frames are written. Frames that begin
/// when it is over are left out where it `ends_video`, so that the video is no longer than its sound, and it is never longer than the video.
struct SoundTrack {
  std::filesystem::path file;
  double start = 0;                // seconds of the file before it
  std::optional<double> duration;  // seconds; unset: to the file's end
  bool ends_video = true;
};

}  // namespace wan
