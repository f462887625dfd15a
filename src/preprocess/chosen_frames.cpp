#include "preprocess/chosen_frames.h"

#include <utility>

#include "base/error.h"

namespace wan {

VideoLength measure_video(const std::filesystem::path& path) {
  const std::unique_ptr<VideoReader> reader = open_video(path);
  VideoLength length{
      .size = {reader->width(), reader->height()}, .fps = reader->fps(), .frames = 0, .duration = 0};
  while (const std::optional<VideoFrame> frame = reader->next()) {
    ++length.frames;
    length.duration = frame->seconds + 1.0 / length.fps;
  }
  WAN_CHECK(length.frames > 0, kBadFile, "[video] {} has no frames; save it again", path.string());
  return length;
}

ChosenFrames::ChosenFrames(const std::filesystem::path& video, FrameChoice choice)
    : choice_(std::move(choice)), reader_(open_video(video)), name_(video.string()) {}

const Image& ChosenFrames::next() {
  const std::int64_t wanted = choice_.indices.at(given_++);
  for (; read_ <= wanted; ++read_) {
    std::optional<VideoFrame> frame = reader_->next();
    WAN_CHECK(frame.has_value(), kBadFile,
              "[video] {} ends after {} frames and had more before; it has changed", name_, read_);
    frame_ = std::move(frame->image);
  }
  return frame_;
}

}  // namespace wan
