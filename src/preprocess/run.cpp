#include "preprocess/run.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>

#include "base/error.h"
#include "media/load_image.h"
#include "preprocess/chosen_frames.h"
#include "preprocess/fit.h"
#include "preprocess/frame_steps.h"

namespace wan {

namespace {

/// Of the whole video, told with a notice where it is not the obvious one.
FrameChoice choose(const PreprocessOptions& options, const VideoLength& video, const EventHandler& on_event) {
  FrameChoice choice = choose_frames(video.frames, video.fps, video.duration, std::max(options.fps, 0.0));
  WAN_CHECK_FIELD(
      !choice.indices.empty(), kInvalidArgument, "fps",
      "{} is {:.3g} s long, which is no frame at {:.4g} a second; take a longer video or more frames",
      options.video_path.string(), static_cast<double>(video.frames) / video.fps, choice.fps);
  if (choice.by_duration && on_event)
    on_event(Notice{format_message(
        "{} has {} frames at {:.4g} a second and lasts {:.3g} s: frames are taken by its duration",
        options.video_path.string(), video.frames, video.fps, video.duration)});
  return choice;
}

}  // namespace

void check_preprocess_options(const PreprocessOptions& o) {
  WAN_CHECK(!o.ckpt_path.empty(), kInvalidArgument,
            "`ckpt_path` is missing: name the checkpoint's folder process_checkpoint");
  WAN_CHECK(!o.video_path.empty(), kInvalidArgument,
            "`video_path` is missing: name the video whose movements are taken");
  WAN_CHECK(!o.refer_path.empty(), kInvalidArgument,
            "`refer_path` is missing: name the picture of the character");
  WAN_CHECK(!o.save_path.empty(), kInvalidArgument, "`save_path` is missing: name the folder to write");
  constexpr int kMostSide = 16384;
  const auto [width, height] = o.resolution_area;
  WAN_CHECK(width > 0 && height > 0 && width <= kMostSide && height <= kMostSide, kInvalidArgument,
            "`resolution_area` {} {}: expected width and height, up to {} each", width, height, kMostSide);
  constexpr double kMostFps = 1000;
  WAN_CHECK(o.fps == -1 || (o.fps >= 1 && o.fps <= kMostFps), kInvalidArgument,
            "`fps` {}: expected 1 to {}, or -1 for the video's own", o.fps, kMostFps);
  WAN_CHECK(
      !o.replace_flag || !o.retarget_flag, kInvalidArgument,
      "`retarget_flag` is for animation: someone who is replaced keeps their place and size; leave it or "
      "`replace_flag` out");
  constexpr const char* kBoth = "is missing: bones are measured in edited pictures of both, or of none";
  WAN_CHECK(o.edited_frame.empty() || !o.edited_refer.empty(), kInvalidArgument, "`edited_refer` {}", kBoth);
  WAN_CHECK(o.edited_refer.empty() || !o.edited_frame.empty(), kInvalidArgument, "`edited_frame` {}", kBoth);
  WAN_CHECK(o.edited_refer.empty() || o.retarget_flag, kInvalidArgument,
            "`edited_refer` and `edited_frame` are for `retarget_flag`; add it, or leave them out");
  constexpr int kMostFace = 4096;
  WAN_CHECK(o.face_size >= 2 && o.face_size <= kMostFace && o.face_size % 2 == 0, kInvalidArgument,
            "`face_size` {}: expected a multiple of 2 up to {}", o.face_size, kMostFace);
  check_mask_shape({.iterations = o.iterations, .k = o.k, .w_len = o.w_len, .h_len = o.h_len});
}

PreprocessResult run_preprocessing(const PreprocessOptions& options, const Networks& networks,
                                   const EventHandler& on_event, const std::atomic<bool>* cancelled) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  const VideoLength video = with_field("video_path", [&] { return measure_video(options.video_path); });
  FrameChoice choice = choose(options, video, on_event);
  const Image picture = with_field("refer_path", [&] { return load_image(options.refer_path); });
  const std::int64_t area = std::int64_t{options.resolution_area.width} * options.resolution_area.height;
  PreprocessResult result{};
  result.size = options.replace_flag ? size_of_area(video.size.width, video.size.height, area)
                                     : size_of_area(picture.width, picture.height, area);
  result.video_size = video.size;
  result.video_frames = video.frames;
  result.fps = choice.fps;
  result.frames = static_cast<std::int64_t>(choice.indices.size());
  SourceWriter writer(options, result.size, choice.fps, result.frames);
  ChosenFrames frames(options.video_path, std::move(choice));
  if (on_event) on_event(PhaseStarted{Phase::kPreprocess, result.frames * (options.replace_flag ? 2 : 1)});
  run_frame_steps({.options = options,
                   .networks = networks,
                   .frames = frames,
                   .sinks = writer.sinks(),
                   .on_event = on_event,
                   .cancelled = cancelled},
                  picture, result);
  writer.finish();
  result.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  if (on_event) on_event(PhaseFinished{Phase::kPreprocess, result.seconds});
  tell_what_was_missing(result, on_event);
  return result;
}

}  // namespace wan
