#pragma once
// What the official preprocessing leaves for an animation: a folder of videos, all as long as one another, and a picture.

#include <deque>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "media/video_reader.h"
#include "wan/request.h"

namespace wan {

/// Files of the folder: videos are MP4 or, where src_pose.mp4 is not there and src_pose.mkv is, Matroska.
struct AnimationFiles {
  AnimationFiles(const std::filesystem::path& folder, bool replaces);

  std::filesystem::path pose, face, picture;
  std::filesystem::path background, mask;  // empty unless a character is replaced

  /// All of them.
  std::vector<std::filesystem::path> all() const;
};

struct AnimationFacts {
  VideoSize size;       // of the pose video, which is the video's
  std::int64_t frames;  // of each
  double fps;           // of the pose video
  bool has_sound;       // the pose video
  std::string hash;     // of all bytes
};

/// Reads all videos to their end. `face_size`: pixels of a face's side; `unit`: what the sides of the video are multiples of. Throws InvalidArgument that names the files that
/// are missing, or each other thing that is wrong in a line of its own, and what open_video() and load_image() throw.
AnimationFacts check_animation_source(const std::filesystem::path& folder, bool replaces,
                                      std::int64_t face_size, int unit);

/// The frame that stands where a video of `frames` is over and runs back and forth: 0, 1, .. frames - 1, frames - 2, .. 0, 1, ..
std::int64_t back_and_forth(std::int64_t index, std::int64_t frames);

/// A video's frames, clip after clip, as if it went back and forth for ever. Holds a clip's frames and no more.
class ClipReader {
 public:
  /// `frames` are all that the file has; a clip takes up to `clip_frames` of them. Throws BadFile where the file has another size by now.
  ClipReader(const std::filesystem::path& video, const VideoSize& size, std::int64_t frames,
             std::int64_t clip_frames);

  /// Frame `index` of the clip that begins with `first`. Clips are asked for in their order.
  const Image& frame(std::int64_t first, std::int64_t index);

 private:
  std::unique_ptr<VideoReader> reader_;
  std::string name_;
  std::int64_t frames_;
  std::int64_t clip_frames_;
  std::int64_t read_ = 0;   // of the file
  std::deque<Image> held_;  // the last of those that were read
};

}  // namespace wan
