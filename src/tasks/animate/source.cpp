#include "tasks/animate/source.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/files.h"
#include "base/fnv_hash.h"
#include "base/mapped_file.h"
#include "media/load_image.h"
#include "media/sound_source.h"
#include "settings/settings.h"

namespace wan {

namespace {

namespace fs = std::filesystem;

struct VideoFacts {
  VideoSize size;
  double fps;
  std::int64_t frames = 0;
};

VideoFacts read_through(const fs::path& path) {
  const std::unique_ptr<VideoReader> reader = open_video(path);
  VideoFacts facts{{reader->width(), reader->height()}, reader->fps()};
  while (reader->next()) ++facts.frames;
  return facts;
}

std::string name_of(const fs::path& path) {
  return path.filename().string();
}

/// What is wrong with a video beside the poses'.
void compare(const fs::path& path, const VideoSize& expected, const VideoFacts& poses,
             std::vector<std::string>& wrong) {
  const VideoFacts facts = read_through(path);
  if (!(facts.size == expected))
    wrong.push_back(fmt::format("{} is {}, expected {}", name_of(path), format_video_size(facts.size),
                                format_video_size(expected)));
  if (facts.frames != poses.frames)
    wrong.push_back(
        fmt::format("{} has {} frames, src_pose.mp4 {}", name_of(path), facts.frames, poses.frames));
  constexpr double kSameRate = 1e-3;
  if (std::abs(facts.fps - poses.fps) > kSameRate * poses.fps)
    wrong.push_back(fmt::format("{} has {:.4g} frames a second, src_pose.mp4 {:.4g}", name_of(path),
                                facts.fps, poses.fps));
}

}  // namespace

AnimationFiles::AnimationFiles(const fs::path& folder, bool replaces) : picture(folder / "src_ref.png") {
  const bool lossless = file_exists(folder / "src_pose.mkv") && !file_exists(folder / "src_pose.mp4");
  const auto video = [&](const char* name) {
    return folder / (std::string(name) + (lossless ? ".mkv" : ".mp4"));
  };
  pose = video("src_pose");
  face = video("src_face");
  if (!replaces) return;
  background = video("src_bg");
  mask = video("src_mask");
}

std::vector<fs::path> AnimationFiles::all() const {
  std::vector<fs::path> files = {pose, face, picture};
  if (!background.empty()) files.insert(files.end(), {background, mask});
  return files;
}

AnimationFacts check_animation_source(const fs::path& folder, bool replaces, std::int64_t face_size,
                                      int unit) {
  WAN_CHECK(is_folder(folder), kInvalidArgument,
            "`src_root_path` {}: it is no folder; name the one that preprocessing has written",
            folder.string());
  const AnimationFiles files(folder, replaces);
  std::vector<std::string> missing;
  FnvHash hash;
  for (const fs::path& file : files.all()) {
    if (!file_exists(file)) {
      missing.push_back(name_of(file));
      continue;
    }
    const MappedFile mapped(file);
    hash.add(mapped.bytes());
    mapped.check_whole();
  }
  WAN_CHECK(
      missing.empty(), kInvalidArgument, "`src_root_path` {}: it lacks {}{}", folder.string(),
      fmt::join(missing, ", "),
      replaces ? "; to replace someone, preprocess with `replace_flag` too" : "; preprocess the video again");
  const VideoFacts poses = read_through(files.pose);
  std::vector<std::string> wrong;
  if (poses.frames < 2)
    wrong.push_back(fmt::format("src_pose.mp4 has {} frames, 2 are the least", poses.frames));
  if (poses.size.width % unit != 0 || poses.size.height % unit != 0)
    wrong.push_back(fmt::format("src_pose.mp4 is {}, whose sides are no multiples of {}",
                                format_video_size(poses.size), unit));
  if (!is_frame_rate(poses.fps))
    wrong.push_back(fmt::format("src_pose.mp4 has {:.4g} frames a second", poses.fps));
  const auto side = static_cast<int>(face_size);
  compare(files.face, {side, side}, poses, wrong);
  if (replaces)
    for (const fs::path& file : {files.background, files.mask}) compare(file, poses.size, poses, wrong);
  WAN_CHECK(wrong.empty(), kInvalidArgument, "`src_root_path` {}: {}; preprocess the video again",
            folder.string(), fmt::join(wrong, "\n  "));
  load_image(files.picture);
  return {.size = poses.size,
          .frames = poses.frames,
          .fps = poses.fps,
          .has_sound = has_sound(files.pose),
          .hash = fmt::format("{:016x}", hash.value())};
}

std::int64_t back_and_forth(std::int64_t index, std::int64_t frames) {
  if (frames == 1) return 0;
  const std::int64_t turn = 2 * (frames - 1);
  const std::int64_t at = index % turn;
  return at < frames ? at : turn - at;
}

ClipReader::ClipReader(const fs::path& video, const VideoSize& size, std::int64_t frames,
                       std::int64_t clip_frames)
    : reader_(open_video(video)), name_(video.string()), frames_(frames), clip_frames_(clip_frames) {
  WAN_CHECK(reader_->width() == size.width && reader_->height() == size.height, kBadFile,
            "{} is {}, and was {}; it has changed since the run began", name_,
            format_video_size({reader_->width(), reader_->height()}), format_video_size(size));
}

const Image& ClipReader::frame(std::int64_t first, std::int64_t index) {
  // A clip that the video ends in goes back over its own frames and those before it: among the last of them there are enough.
  const std::int64_t end = std::min(first + clip_frames_, frames_);
  for (; read_ < end; ++read_) {
    std::optional<VideoFrame> next = reader_->next();
    WAN_CHECK(next.has_value(), kBadFile, "{} ends after {} of {} frames; it has changed since the run began",
              name_, read_, frames_);
    if (static_cast<std::int64_t>(held_.size()) == clip_frames_) held_.pop_front();
    held_.push_back(std::move(next->image));
  }
  const std::int64_t wanted = back_and_forth(first + index, frames_);
  const std::int64_t at = wanted - (read_ - static_cast<std::int64_t>(held_.size()));
  WAN_CHECK(at >= 0 && at < static_cast<std::int64_t>(held_.size()), kInternal,
            "[clip reader] frame {} of the clip at {}, of {}", index, first, frames_);
  return held_[static_cast<std::size_t>(at)];
}

}  // namespace wan
