#pragma once
// The frames of a video that are taken, one after another.

#include <filesystem>
#include <memory>

#include "media/video_reader.h"
#include "preprocess/frame_choice.h"
#include "preprocess/frame_source.h"
#include "wan/request.h"

namespace wan {

struct VideoLength {
  VideoSize size;
  double fps;
  std::int64_t frames;
  double duration;  // seconds from the first frame's beginning to the last one's end
};

/// Reads the file to its end. Throws BadFile, also where it has no frames, and as open_video().
VideoLength measure_video(const std::filesystem::path& path);

class ChosenFrames final : public FrameSource {
 public:
  ChosenFrames(const std::filesystem::path& video, FrameChoice choice);

  std::int64_t count() const override { return static_cast<std::int64_t>(choice_.indices.size()); }
  /// Throws BadFile where the file ends before it.
  const Image& next() override;

 private:
  FrameChoice choice_;
  std::unique_ptr<VideoReader> reader_;
  std::string name_;
  std::int64_t read_ = 0;  // of the file
  std::size_t given_ = 0;
  Image frame_;
};

}  // namespace wan
