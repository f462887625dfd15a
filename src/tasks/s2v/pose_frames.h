#pragma once
// PoseReader: the frames of a pose video that stand beside a video's own.

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "media/video_reader.h"
#include "settings/settings.h"

namespace wan {

class PoseReader {
 public:
  /// For a video of `fps` frames a second. Throws as open_video().
  PoseReader(const std::filesystem::path& video, PoseFrames taken, double fps);

  /// The poses of the next `count` frames; fewer where the video is over.
  std::vector<Image> take(std::int64_t count);
  /// Goes past so many frames.
  void skip(std::int64_t count);

 private:
  /// That of the next frame; nullptr where there is none. Stays until the next call.
  const Image* next();
  /// The nth frame of the file, from where the reader is; false where there are fewer.
  bool read_to(std::int64_t index);

  std::unique_ptr<VideoReader> reader_;
  PoseFrames taken_;
  double fps_;
  std::int64_t interval_;                // of kEveryNth
  std::int64_t done_ = 0;                // frames of the video that is made
  std::int64_t read_ = 0;                // of the file
  std::optional<VideoFrame> current_;    // the last one read
  std::optional<VideoFrame> following_;  // of kByTime, one ahead
  bool over_ = false;
};

}  // namespace wan
