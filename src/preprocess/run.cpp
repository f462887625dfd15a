#include "preprocess/run.h"

#include <chrono>
#include <cmath>
#include <optional>
#include <string>
#include <utility>

#include "base/error.h"
#include "media/fit_image.h"
#include "media/load_image.h"
#include "preprocess/chosen_frames.h"
#include "preprocess/face_crop.h"
#include "preprocess/fit.h"
#include "preprocess/frame_store.h"
#include "preprocess/retarget.h"
#include "preprocess/skeleton.h"
#include "preprocess/source_writer.h"

namespace wan {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// One run of preprocessing: what its frames have in common, and what is counted.
class Preprocessing {
 public:
  Preprocessing(const PreprocessOptions& options, const Networks& networks, const EventHandler& on_event,
                const std::atomic<bool>* cancelled)
      : options_(options),
        networks_(networks),
        on_event_(on_event),
        cancelled_(cancelled),
        start_(Clock::now()) {}

  PreprocessResult run() {
    const VideoLength video = with_field("video_path", [&] { return measure_video(options_.video_path); });
    FrameChoice choice = choose_frames(video.frames, video.fps, video.duration, std::max(options_.fps, 0.0));
    WAN_CHECK_FIELD(
        !choice.indices.empty(), kInvalidArgument, "fps",
        "{} is {:.3g} s long, which is no frame at {:.4g} a second; take a longer video or more frames",
        options_.video_path.string(), static_cast<double>(video.frames) / video.fps, choice.fps);
    if (choice.by_duration)
      notice(format_message(
          "{} has {} frames at {:.4g} a second and lasts {:.3g} s: frames are taken by its duration",
          options_.video_path.string(), video.frames, video.fps, video.duration));
    const Image picture = with_field("refer_path", [&] { return load_image(options_.refer_path); });
    const std::int64_t area = std::int64_t{options_.resolution_area.width} * options_.resolution_area.height;
    result_.size = options_.replace_flag ? size_of_area(video.size.width, video.size.height, area)
                                         : size_of_area(picture.width, picture.height, area);
    result_.video_size = video.size;
    result_.video_frames = video.frames;
    result_.fps = choice.fps;
    result_.frames = static_cast<std::int64_t>(choice.indices.size());
    area_ = area;
    total_ = result_.frames * (options_.replace_flag ? 2 : 1);
    SourceWriter writer(options_, result_.size, choice.fps, result_.frames);
    ChosenFrames frames(options_.video_path, std::move(choice));
    tell(PhaseStarted{Phase::kPreprocess, total_});
    if (options_.replace_flag)
      replace(frames, writer);
    else
      animate(frames, picture, writer);
    writer.finish();
    result_.seconds = seconds_since(start_);
    tell(PhaseFinished{Phase::kPreprocess, result_.seconds});
    tell_what_was_missing();
    return result_;
  }

 private:
  void tell(const Event& event) const {
    if (on_event_) on_event_(event);
  }
  void notice(std::string message) const { tell(Notice{std::move(message)}); }

  void advance() {
    tell(PhaseProgress{
        .phase = Phase::kPreprocess, .done = ++done_, .total = total_, .seconds = seconds_since(start_)});
    check_cancelled();
  }
  void check_cancelled() const {
    WAN_CHECK(cancelled_ == nullptr || !*cancelled_, kCancelled,
              "preprocessing was stopped; nothing is written");
  }

  /// `found`: whether the detector found someone.
  Pose pose_of(const Image& frame, bool& found) {
    PersonDetector& detector = networks_.detector;
    const auto [width, height] = std::pair(detector.width(), detector.height());
    const std::optional<PersonBox> person = find_person(detector.detect(detector_input(frame, width, height)),
                                                        width, height, frame.width, frame.height);
    found = person.has_value();
    KeypointEstimator& estimator = networks_.estimator;
    const PoseRegion region = pose_region(person.value_or(PersonBox{}), frame.width, frame.height,
                                          estimator.width(), estimator.height());
    const Heatmaps maps =
        estimator.estimate(pose_input(frame, region, estimator.width(), estimator.height(),
                                      options_.pose_rgb ? PoseChannels::kRgb : PoseChannels::kBgr));
    WAN_CHECK(maps.points == kBodyPoints, kBadFile,
              "[pose network] it has {} points, expected {}, COCO-WholeBody's", maps.points, kBodyPoints);
    return group_points(decode_heatmaps(maps.values, maps.points, maps.width, maps.height, region),
                        frame.width, frame.height);
  }

  /// Of a frame of the video: the body of the one before where there is none.
  Pose followed_pose(const Image& frame) {
    bool found = false;
    Pose pose = pose_of(frame, found);
    if (!found) ++result_.without_person;
    if (is_outside(pose)) {
      ++result_.without_body;
      if (last_body_) {
        pose.body = *last_body_;
      } else {
        for (PosePoint& point : pose.body) point.score = 0;
      }
    }
    last_body_ = pose.body;
    return pose;
  }

  /// The pose in a picture in which someone must be.
  Pose pose_of_picture(const Image& picture, const char* field, const std::filesystem::path& file) {
    bool found = false;
    const Pose pose = pose_of(picture, found);
    if (!found)
      notice(format_message("the detector finds nobody in {}; all of it is looked at", file.string()));
    WAN_CHECK_FIELD(!is_outside(pose), kBadFile, field,
                    "no point of a body is found in {}; take another picture, or leave `retarget_flag` out",
                    file.string());
    return pose;
  }

  void write_face(const Image& frame, const Pose& pose, FrameSink& sink) {
    if (const std::optional<FaceBox> box = face_box(pose)) {
      last_face_ = face_picture(frame, *box, options_.face_size);
    } else {
      ++result_.without_face;
      if (!last_face_) last_face_ = make_image(options_.face_size, options_.face_size);
    }
    sink.write(last_face_->rgb.data());
  }

  std::optional<EditedPoses> edited_poses(const VideoSize& frame_size) {
    if (options_.edited_refer.empty()) return {};
    const auto look_at = [&](const std::filesystem::path& file, const char* field, const VideoSize& size) {
      const Image picture = with_field(field, [&] { return load_image(file); });
      return pose_of_picture(fit_into(picture, size.width, size.height), field, file);
    };
    return EditedPoses{.video = look_at(options_.edited_frame, "edited_frame", frame_size),
                       .picture = look_at(options_.edited_refer, "edited_refer", result_.size)};
  }

  void animate(ChosenFrames& frames, const Image& picture, SourceWriter& writer) {
    std::optional<Retargeting> retargeting;
    for (std::int64_t i = 0; i < frames.count(); ++i) {
      const Image& frame = frames.next();
      const Pose pose = followed_pose(frame);
      if (options_.retarget_flag && i == 0) {
        WAN_CHECK_FIELD(!is_outside(pose), kBadFile, "video_path",
                        "no point of a body is found in the first frame of {}, from which bones are "
                        "measured; begin the video "
                        "later, or leave `retarget_flag` out",
                        options_.video_path.string());
        std::vector<std::string> notices;
        const Pose of_picture =
            pose_of_picture(fit_to_area(picture, area_), "refer_path", options_.refer_path);
        retargeting.emplace(pose, of_picture, edited_poses({frame.width, frame.height}), notices);
        for (std::string& message : notices) notice(std::move(message));
      }
      const auto [width, height] = result_.size;
      const Image drawn =
          retargeting ? draw_skeleton(retargeting->apply(pose), width, height)
                      : fit_into(draw_skeleton(skeleton_of(pose), frame.width, frame.height), width, height);
      write_face(frame, pose, writer.face());
      writer.pose().write(drawn.rgb.data());
      advance();
    }
  }

  void replace(ChosenFrames& frames, SourceWriter& writer) {
    FrameStore store(options_.save_path, result_.size.width, result_.size.height);
    const std::int64_t most = networks_.segmenter->chunk_frames();
    for (std::int64_t first = 0; first < frames.count(); first += most) {
      const std::int64_t count = std::min(most, frames.count() - first);
      std::vector<Pose> poses;
      for (std::int64_t i = 0; i < count; ++i) {
        const Image frame = fit_to_area(frames.next(), area_);
        const Pose& pose = poses.emplace_back(followed_pose(frame));
        write_face(frame, pose, writer.face());
        writer.pose().write(draw_skeleton(skeleton_of(pose), frame.width, frame.height).rgb.data());
        store.write(i, frame);
        advance();
      }
      networks_.segmenter->segment(
          count,
          [&](std::int64_t i) {
            const auto points = person_points(poses[static_cast<std::size_t>(i)]);
            return std::vector<MaskPoint>(points.begin(), points.end());
          },
          [&](std::int64_t i) {
            check_cancelled();
            return store.read(i);
          },
          [&](std::int64_t i, std::span<const std::uint8_t> levels) {
            write_mask(store.read(i), levels, writer);
          });
    }
  }

  void write_mask(const Image& frame, std::span<const std::uint8_t> levels, SourceWriter& writer) {
    const Mask found{frame.width, frame.height, {levels.begin(), levels.end()}};
    if (found.is_empty()) ++result_.without_mask;
    const Mask mask = shaped_mask(found, {.iterations = options_.iterations,
                                          .k = options_.k,
                                          .w_len = options_.w_len,
                                          .h_len = options_.h_len});
    writer.background().write(background_of(frame, mask).rgb.data());
    writer.mask().write(picture_of(mask).rgb.data());
    advance();
  }

  void tell_what_was_missing() const {
    const auto tell_of = [&](std::int64_t count, const char* what) {
      if (count > 0) notice(format_message("{} of {} frames {}", count, result_.frames, what));
    };
    tell_of(result_.without_person,
            "show nobody whom the detector finds; the pose network looked at all of them");
    tell_of(result_.without_body,
            "show no body; they have that of the frame before, those at the beginning none");
    tell_of(result_.without_face,
            "show no face; they have that of the frame before, those at the beginning a black one");
    tell_of(result_.without_mask, "have no mask; nothing is replaced there");
    if (result_.frames < 2) notice("one frame was written; an animation needs two or more");
  }

  const PreprocessOptions& options_;
  const Networks& networks_;
  const EventHandler& on_event_;
  const std::atomic<bool>* cancelled_;
  Clock::time_point start_;
  PreprocessResult result_{};
  std::int64_t area_ = 0;
  std::int64_t done_ = 0;
  std::int64_t total_ = 0;
  std::optional<std::array<PosePoint, 20>> last_body_;
  std::optional<Image> last_face_;
};

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
  return Preprocessing(options, networks, on_event, cancelled).run();
}

}  // namespace wan
