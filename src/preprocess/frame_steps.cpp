#include "preprocess/frame_steps.h"

#include <chrono>
#include <functional>
#include <future>
#include <optional>
#include <string>
#include <utility>

#include "base/error.h"
#include "media/fit_image.h"
#include "media/load_image.h"
#include "preprocess/face_crop.h"
#include "preprocess/fit.h"
#include "preprocess/frame_store.h"
#include "preprocess/heatmaps.h"
#include "preprocess/pose_crop.h"
#include "preprocess/retarget.h"
#include "preprocess/skeleton.h"

namespace wan {

namespace {

using Clock = std::chrono::steady_clock;

/// A frame, and the detector's input of it.
struct ReadyFrame {
  Image image;
  std::vector<float> input;
};

/// A frame, and what the networks say of it.
struct SeenFrame {
  Image image;
  bool has_person;
  PoseRegion region;
  Heatmaps maps;
};

void tell(const EventHandler& on_event, const Event& event) {
  if (on_event) on_event(event);
}

class Frames {
 public:
  Frames(const FrameSteps& steps, const Image& picture, PreprocessResult& result)
      : options_(steps.options), steps_(steps), picture_(picture), result_(result) {}

  void run() {
    if (options_.replace_flag)
      replace();
    else
      animate();
  }

 private:
  void notice(std::string message) const { tell(steps_.on_event, Notice{std::move(message)}); }

  void advance() {
    tell(steps_.on_event,
         PhaseProgress{.phase = Phase::kPreprocess,
                       .done = ++done_,
                       .total = result_.frames * (options_.replace_flag ? 2 : 1),
                       .seconds = std::chrono::duration<double>(Clock::now() - start_).count()});
    check_cancelled();
  }
  void check_cancelled() const {
    WAN_CHECK(steps_.cancelled == nullptr || !*steps_.cancelled, kCancelled,
              "preprocessing was stopped; nothing is written");
  }

  ReadyFrame ready(Image image) const {
    const PersonDetector& detector = steps_.networks.detector;
    std::vector<float> input = detector_input(image, detector.width(), detector.height());
    return {std::move(image), std::move(input)};
  }

  SeenFrame look_at(ReadyFrame frame) const {
    PersonDetector& detector = steps_.networks.detector;
    KeypointEstimator& estimator = steps_.networks.estimator;
    const int width = frame.image.width, height = frame.image.height;
    const std::optional<PersonBox> person =
        find_person(detector.detect(frame.input), detector.width(), detector.height(), width, height);
    const PoseRegion region =
        pose_region(person.value_or(PersonBox{}), width, height, estimator.width(), estimator.height());
    Heatmaps maps =
        estimator.estimate(pose_input(frame.image, region, estimator.width(), estimator.height(),
                                      options_.pose_rgb ? PoseChannels::kRgb : PoseChannels::kBgr));
    WAN_CHECK(maps.points == kBodyPoints, kBadFile,
              "[pose network] it has {} points, expected {}, COCO-WholeBody's", maps.points, kBodyPoints);
    return {std::move(frame.image), person.has_value(), region, std::move(maps)};
  }

  /// `use` has frame after frame, the first one on the caller's thread, the others on one while the networks look at the next.
  void look_at_all(std::int64_t count, const std::function<Image()>& next,
                   const std::function<void(std::int64_t, const SeenFrame&)>& use) {
    const auto make_ready = [&] { return ready(next()); };
    std::future<ReadyFrame> coming = std::async(std::launch::async, make_ready);
    std::future<void> using_before;
    const auto end_use = [&] {
      if (!using_before.valid()) return;
      using_before.get();
      advance();
    };
    for (std::int64_t i = 0; i < count; ++i) {
      ReadyFrame frame = coming.get();
      if (i + 1 < count) coming = std::async(std::launch::async, make_ready);
      SeenFrame seen = look_at(std::move(frame));
      end_use();
      using_before = std::async(i == 0 ? std::launch::deferred : std::launch::async,
                                [&use, i, seen = std::move(seen)] { use(i, seen); });
      if (i == 0) using_before.wait();
    }
    end_use();
  }

  static Pose pose_of(const SeenFrame& seen) {
    return group_points(
        decode_heatmaps(seen.maps.values, seen.maps.points, seen.maps.width, seen.maps.height, seen.region),
        seen.image.width, seen.image.height);
  }

  /// Of a frame of the video: the body of the one before where there is none.
  Pose followed_pose(const SeenFrame& seen) {
    Pose pose = pose_of(seen);
    if (!seen.has_person) ++result_.without_person;
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
  Pose pose_of_picture(Image picture, const char* field, const std::filesystem::path& file) const {
    const SeenFrame seen = look_at(ready(std::move(picture)));
    if (!seen.has_person)
      notice(format_message("the detector finds nobody in {}; all of it is looked at", file.string()));
    const Pose pose = pose_of(seen);
    WAN_CHECK_FIELD(!is_outside(pose), kBadFile, field,
                    "no point of a body is found in {}; take another picture, or leave `retarget_flag` out",
                    file.string());
    return pose;
  }

  void write_face(const Image& frame, const Pose& pose) {
    if (const std::optional<FaceBox> box = face_box(pose)) {
      last_face_ = face_picture(frame, *box, options_.face_size);
    } else {
      ++result_.without_face;
      if (!last_face_) last_face_ = make_image(options_.face_size, options_.face_size);
    }
    steps_.sinks.face.write(last_face_->rgb.data());
  }

  std::optional<EditedPoses> edited_poses(const VideoSize& frame_size) const {
    if (options_.edited_refer.empty()) return {};
    const auto look_at_file = [&](const std::filesystem::path& file, const char* field,
                                  const VideoSize& size) {
      const Image picture = with_field(field, [&] { return load_image(file); });
      return pose_of_picture(fit_into(picture, size.width, size.height), field, file);
    };
    return EditedPoses{.video = look_at_file(options_.edited_frame, "edited_frame", frame_size),
                       .picture = look_at_file(options_.edited_refer, "edited_refer", result_.size)};
  }

  /// `pose` is that of the first frame.
  Retargeting retargeting_from(const Pose& pose) const {
    WAN_CHECK_FIELD(!is_outside(pose), kBadFile, "video_path",
                    "no point of a body is found in the first frame of {}, from which bones are measured; "
                    "begin the video "
                    "later, or leave `retarget_flag` out",
                    options_.video_path.string());
    const Pose of_picture = pose_of_picture(fit_to_area(picture_, area()), "refer_path", options_.refer_path);
    std::vector<std::string> notices;
    Retargeting retargeting(pose, of_picture, edited_poses({pose.width, pose.height}), notices);
    for (std::string& message : notices) notice(std::move(message));
    return retargeting;
  }

  std::int64_t area() const {
    return std::int64_t{options_.resolution_area.width} * options_.resolution_area.height;
  }

  void animate() {
    std::optional<Retargeting> retargeting;
    const auto [width, height] = result_.size;
    look_at_all(
        steps_.frames.count(), [&] { return steps_.frames.next(); },
        [&, width = width, height = height](std::int64_t i, const SeenFrame& seen) {
          const Image& frame = seen.image;
          const Pose pose = followed_pose(seen);
          if (options_.retarget_flag && i == 0) retargeting = retargeting_from(pose);
          const Image drawn =
              retargeting
                  ? draw_skeleton(retargeting->apply(pose), width, height)
                  : fit_into(draw_skeleton(skeleton_of(pose), frame.width, frame.height), width, height);
          write_face(frame, pose);
          steps_.sinks.pose.write(drawn.rgb.data());
        });
  }

  void replace() {
    FrameStore store(options_.save_path, result_.size.width, result_.size.height);
    const std::int64_t most = steps_.networks.segmenter->chunk_frames();
    for (std::int64_t first = 0; first < steps_.frames.count(); first += most) {
      const std::int64_t count = std::min(most, steps_.frames.count() - first);
      std::vector<Pose> poses;
      look_at_all(
          count, [&] { return fit_to_area(steps_.frames.next(), area()); },
          [&](std::int64_t i, const SeenFrame& seen) {
            const Image& frame = seen.image;
            const Pose& pose = poses.emplace_back(followed_pose(seen));
            write_face(frame, pose);
            steps_.sinks.pose.write(draw_skeleton(skeleton_of(pose), frame.width, frame.height).rgb.data());
            store.write(i, frame);
          });
      steps_.networks.segmenter->segment(
          count,
          [&](std::int64_t i) {
            const auto points = person_points(poses[static_cast<std::size_t>(i)]);
            return std::vector<MaskPoint>(points.begin(), points.end());
          },
          [&](std::int64_t i) {
            check_cancelled();
            return store.read(i);
          },
          [&](std::int64_t i, std::span<const std::uint8_t> levels) { write_mask(store.read(i), levels); });
    }
  }

  void write_mask(const Image& frame, std::span<const std::uint8_t> levels) {
    const Mask found{frame.width, frame.height, {levels.begin(), levels.end()}};
    if (found.is_empty()) ++result_.without_mask;
    const Mask mask = shaped_mask(found, {.iterations = options_.iterations,
                                          .k = options_.k,
                                          .w_len = options_.w_len,
                                          .h_len = options_.h_len});
    steps_.sinks.background->write(background_of(frame, mask).rgb.data());
    steps_.sinks.mask->write(picture_of(mask).rgb.data());
    advance();
  }

  const PreprocessOptions& options_;
  const FrameSteps& steps_;
  const Image& picture_;
  PreprocessResult& result_;
  Clock::time_point start_ = Clock::now();
  std::int64_t done_ = 0;
  std::optional<std::array<PosePoint, 20>> last_body_;
  std::optional<Image> last_face_;
};

}  // namespace

void run_frame_steps(const FrameSteps& steps, const Image& picture, PreprocessResult& result) {
  Frames(steps, picture, result).run();
}

void tell_what_was_missing(const PreprocessResult& result, const EventHandler& on_event) {
  const auto tell_of = [&](std::int64_t count, const char* what) {
    if (count > 0) tell(on_event, Notice{format_message("{} of {} frames {}", count, result.frames, what)});
  };
  tell_of(result.without_person,
          "show nobody whom the detector finds; the pose network looked at all of them");
  tell_of(result.without_body,
          "show no body; they have that of the frame before, those at the beginning none");
  tell_of(result.without_face,
          "show no face; they have that of the frame before, those at the beginning a black one");
  tell_of(result.without_mask, "have no mask; nothing is replaced there");
  if (result.frames < 2) tell(on_event, Notice{"one frame was written; an animation needs two or more"});
}

}  // namespace wan
