// Preprocessing from a video to the folder that an animation is made from, with networks that answer by rule.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>

#include "media/fit_image.h"
#include "media/lossless_writer.h"
#include "media/mp4_writer.h"
#include "media/output.h"
#include "media/png_encode.h"
#include "media/sound_source.h"
#include "media/video_reader.h"
#include "preprocess/face_crop.h"
#include "preprocess/fit.h"
#include "preprocess/retarget.h"
#include "preprocess/run.h"
#include "preprocess/skeleton.h"
#include "support/expect_error.h"
#include "support/full_disk.h"
#include "support/rule_values.h"
#include "support/temp_folder.h"
#include "support/wav_file.h"

namespace wan::test {
namespace {

namespace fs = std::filesystem;

constexpr int kSide = 64;

/// Says that the person is the whole frame, unless the frame is one of `nobody`.
class ScriptedDetector final : public PersonDetector {
 public:
  int width() const override { return kSide; }
  int height() const override { return kSide; }
  Detections detect(std::span<const float> input) override {
    EXPECT_EQ(input.size(), 3u * kSide * kSide);
    const float score = nobody.contains(calls++) ? 0.0f : 0.9f;
    return {.rows = 1, .columns = 6, .values = {0, 0, kSide, kSide, score, 0}};
  }

  int calls = 0;
  std::map<int, bool> nobody;
};

/// Points at the same places of the input, one a pixel further in each call; none in the calls of `nothing`, and a face in one place in those of `turned_away`.
class ScriptedEstimator final : public KeypointEstimator {
 public:
  int width() const override { return 48; }
  int height() const override { return 64; }
  Heatmaps estimate(std::span<const float> input) override {
    EXPECT_EQ(input.size(), 3u * 48 * 64);
    constexpr int kWidth = 24, kHeight = 32;
    Heatmaps maps{.points = kBodyPoints, .width = kWidth, .height = kHeight, .values = {}};
    const std::vector<float> places = rule_units(5, 2 * kBodyPoints);
    const int call = calls++;
    for (int point = 0; point < kBodyPoints; ++point) {
      std::vector<float> map(static_cast<std::size_t>(kWidth * kHeight));
      const bool face = point >= 23 && point < 91;
      const auto at = static_cast<std::size_t>(face && turned_away.contains(call) ? 23 : point);
      const int x = 4 + static_cast<int>(places[2 * at] * 14) + call % 3,
                y = 4 + static_cast<int>(places[2 * at + 1] * 24);
      if (!nothing.contains(call)) map[static_cast<std::size_t>(y * kWidth + x)] = 0.9f;
      maps.values.insert(maps.values.end(), map.begin(), map.end());
    }
    return maps;
  }

  int calls = 0;
  std::map<int, bool> nothing, turned_away;
};

/// A box in the middle of every frame, but in those of `empty`. Chunks of three.
class ScriptedSegmenter final : public PersonSegmenter {
 public:
  std::int64_t chunk_frames() const override { return 3; }
  void segment(std::int64_t frames, const PointsOfFrame& points_of, const FrameReader& read,
               const MaskSink& write) override {
    chunks.push_back(frames);
    EXPECT_EQ(points_of(frames - 1).size(), 8u);
    for (std::int64_t i = frames - 1; i >= 0; --i) seen.push_back(read(i));
    for (std::int64_t i = 0; i < frames; ++i) {
      const Image& frame = seen.back();
      std::vector<std::uint8_t> mask(frame.rgb.size() / 3);
      if (!empty.contains(told++))
        for (int y = 10; y < 20; ++y)
          for (int x = 12; x < 18; ++x) mask[static_cast<std::size_t>(y * frame.width + x)] = 1;
      write(i, mask);
    }
  }

  std::vector<std::int64_t> chunks;
  std::vector<Image> seen;
  std::map<int, bool> empty;
  int told = 0;
};

std::vector<Image> frames_of(const fs::path& video) {
  std::vector<Image> frames;
  const auto reader = open_video(video);
  while (auto frame = reader->next()) frames.push_back(std::move(frame->image));
  return frames;
}

class PreprocessRun : public ::testing::Test {
 protected:
  static constexpr int kWidth = 80, kHeight = 64;

  PreprocessRun() {
    options.ckpt_path = "unused";
    options.video_path = folder / "video.mkv";
    options.refer_path = folder / "picture.png";
    options.save_path = folder / "made";
    options.resolution_area = {96, 96};
    options.lossless = true;
    options.face_size = 48;
    write_video(5, 25);
    const Image picture = rule_picture(3, 60, 90);
    const auto png = encode_png(picture.rgb.data(), picture.width, picture.height, {});
    std::ofstream(options.refer_path, std::ios::binary)
        .write(reinterpret_cast<const char*>(png.data()), static_cast<std::streamsize>(png.size()));
    fs::create_directories(options.save_path);
  }

  void write_video(int frames, double fps, const std::optional<SoundTrack>& sound = {}) {
    const auto writer = make_lossless_writer(options.video_path, {kWidth, kHeight, fps, frames}, sound);
    for (int i = 0; i < frames; ++i)
      writer->write(rule_picture(static_cast<std::uint64_t>(50 + i), kWidth, kHeight).rgb.data());
    writer->finish();
  }

  PreprocessResult run() {
    check_preprocess_options(options);
    notices.clear();
    done.clear();
    return run_preprocessing(
        options, {detector, estimator, &segmenter},
        [&](const Event& event) {
          if (const auto* notice = std::get_if<Notice>(&event)) notices.push_back(notice->message);
          if (const auto* progress = std::get_if<PhaseProgress>(&event))
            done.push_back({progress->done, progress->total});
          if (on_event) on_event(event);
        },
        &cancelled);
  }

  /// The pose that the scripted networks see in a frame of so many pixels, in their n-th call.
  static Pose pose_in(int width, int height, int call, const ScriptedEstimator& like = {}) {
    ScriptedEstimator estimator = like;
    estimator.calls = call;
    const Heatmaps maps = estimator.estimate(std::vector<float>(3 * 48 * 64));
    const PoseRegion region = pose_region(
        {0, 0, static_cast<double>(width), static_cast<double>(height), 0.9}, width, height, 48, 64);
    return group_points(decode_heatmaps(maps.values, maps.points, maps.width, maps.height, region), width,
                        height);
  }

  bool was_told(const std::string& part) const {
    return std::ranges::any_of(
        notices, [&](const std::string& notice) { return notice.find(part) != std::string::npos; });
  }

  TempFolder folder;
  PreprocessOptions options;
  ScriptedDetector detector;
  ScriptedEstimator estimator;
  ScriptedSegmenter segmenter;
  std::vector<std::string> notices;
  std::vector<std::pair<std::int64_t, std::int64_t>> done;
  EventHandler on_event;
  std::atomic<bool> cancelled = false;
};

TEST_F(PreprocessRun, AnimationIsWrittenFrameByFrame) {
  const PreprocessResult result = run();
  EXPECT_EQ(result.frames, 6);  // 0.2 s at 30 a second
  EXPECT_EQ(result.video_frames, 5);
  EXPECT_EQ(result.size, (VideoSize{64, 112}));  // the picture's shape
  EXPECT_TRUE(notices.empty()) << notices[0];
  EXPECT_EQ(done.back(), std::pair(std::int64_t{6}, std::int64_t{6}));
  const std::vector<Image> poses = frames_of(options.save_path / "src_pose.mkv");
  const std::vector<Image> faces = frames_of(options.save_path / "src_face.mkv");
  ASSERT_EQ(poses.size(), 6u);
  ASSERT_EQ(faces.size(), 6u);
  EXPECT_NEAR(open_video(options.save_path / "src_pose.mkv")->fps(), 30, 1e-6);
  const int taken[] = {0, 1, 2, 2, 3, 4};  // 25 frames a second at 30, halves to even
  for (int i = 0; i < 6; ++i) {
    const Pose pose = pose_in(kWidth, kHeight, i);
    const Image frame = rule_picture(static_cast<std::uint64_t>(50 + taken[i]), kWidth, kHeight);
    EXPECT_EQ(poses[static_cast<std::size_t>(i)].rgb,
              fit_into(draw_skeleton(skeleton_of(pose), kWidth, kHeight), 64, 112).rgb)
        << i;
    EXPECT_EQ(faces[static_cast<std::size_t>(i)].rgb, face_picture(frame, *face_box(pose), 48).rgb) << i;
  }
  std::ifstream given(options.refer_path, std::ios::binary),
      kept(options.save_path / "src_ref.png", std::ios::binary);
  EXPECT_TRUE(
      std::equal(std::istreambuf_iterator<char>(given), {}, std::istreambuf_iterator<char>(kept), {}));
  EXPECT_FALSE(fs::exists(options.save_path / "src_bg.mkv"));
}

TEST_F(PreprocessRun, RetargetedPosesAreOfThePicturesSize) {
  options.retarget_flag = true;
  options.fps = -1;
  const PreprocessResult result = run();
  EXPECT_EQ(result.frames, 5);
  EXPECT_EQ(result.fps, 25);
  const Pose first = pose_in(kWidth, kHeight, 0),
             picture = pose_in(64, 112, 1);  // looked at after the first frame
  std::vector<std::string> ignored;
  const Retargeting retargeting(first, picture, {}, ignored);
  const std::vector<Image> poses = frames_of(options.save_path / "src_pose.mkv");
  ASSERT_EQ(poses.size(), 5u);
  EXPECT_EQ(poses[0].rgb, draw_skeleton(retargeting.apply(first), 64, 112).rgb);
  EXPECT_EQ(poses[3].rgb, draw_skeleton(retargeting.apply(pose_in(kWidth, kHeight, 4)), 64, 112).rgb);

  // Bones are measured in edited pictures where there are some.
  options.edited_refer = options.edited_frame = options.refer_path;
  estimator.calls = 0;
  run();
  const EditedPoses edited{.video = pose_in(kWidth, kHeight, 2), .picture = pose_in(64, 112, 3)};
  const Retargeting by_edited(first, picture, edited, ignored);
  EXPECT_EQ(frames_of(options.save_path / "src_pose.mkv")[0].rgb,
            draw_skeleton(by_edited.apply(first), 64, 112).rgb);

  estimator.calls = 0;
  estimator.nothing[1] = true;
  expect_error(ErrorCode::kBadFile, "no point of a body is found in", [&] { run(); });
}

TEST_F(PreprocessRun, ReplacementIsSegmentedInChunks) {
  options.replace_flag = true;
  options.fps = 25;
  options.k = 3;
  options.iterations = 1;
  segmenter.empty[4] = true;
  const PreprocessResult result = run();
  EXPECT_EQ(result.size, size_of_area(kWidth, kHeight, 96 * 96));  // the video's shape
  EXPECT_EQ(segmenter.chunks, (std::vector<std::int64_t>{3, 2}));
  EXPECT_EQ(result.without_mask, 1);
  EXPECT_TRUE(was_told("1 of 5 frames have no mask"));
  EXPECT_EQ(done.back(), std::pair(std::int64_t{10}, std::int64_t{10}));
  const std::vector<Image> scene = frames_of(options.save_path / "src_bg.mkv"),
                           masks = frames_of(options.save_path / "src_mask.mkv");
  ASSERT_EQ(scene.size(), 5u);
  ASSERT_EQ(masks.size(), 5u);
  for (int i = 0; i < 5; ++i) {
    const Image frame =
        fit_to_area(rule_picture(static_cast<std::uint64_t>(50 + i), kWidth, kHeight), 96 * 96);
    Mask mask{frame.width, frame.height, std::vector<std::uint8_t>(frame.rgb.size() / 3)};
    // Widened by one, then the box without its last row and column filled: the same box.
    for (int y = 9; y < 21 && i != 4; ++y)
      for (int x = 11; x < 19; ++x) mask.levels[static_cast<std::size_t>(y * frame.width + x)] = 1;
    EXPECT_EQ(scene[static_cast<std::size_t>(i)].rgb, background_of(frame, mask).rgb) << i;
    EXPECT_EQ(masks[static_cast<std::size_t>(i)].rgb, picture_of(mask).rgb) << i;
    // What the segmenter read: each chunk from its end.
    EXPECT_EQ(segmenter.seen[static_cast<std::size_t>(i < 3 ? 2 - i : 7 - i)].rgb, frame.rgb);
  }
  for (const auto& entry : fs::directory_iterator(options.save_path))
    EXPECT_TRUE(entry.path().filename().string().starts_with("src_")) << entry.path();
}

TEST_F(PreprocessRun, WhatIsMissingIsMadeUpForAndTold) {
  options.fps = 25;
  detector.nobody = {{1, true}, {2, true}};
  estimator.nothing = {{0, true}, {3, true}};
  estimator.turned_away = {{4, true}};
  const PreprocessResult result = run();
  EXPECT_EQ(result.without_person, 2);
  EXPECT_EQ(result.without_body, 2);
  EXPECT_EQ(result.without_face, 3);  // one point is no face
  EXPECT_TRUE(was_told("2 of 5 frames show nobody whom the detector finds"));
  EXPECT_TRUE(was_told("2 of 5 frames show no body"));
  EXPECT_TRUE(was_told("3 of 5 frames show no face"));
  const std::vector<Image> poses = frames_of(options.save_path / "src_pose.mkv"),
                           faces = frames_of(options.save_path / "src_face.mkv");
  EXPECT_EQ(poses[0].rgb, make_image(64, 112).rgb);  // nobody yet
  EXPECT_EQ(faces[0].rgb, make_image(48, 48).rgb);
  EXPECT_EQ(faces[3].rgb, faces[2].rgb);
  EXPECT_EQ(faces[4].rgb, faces[2].rgb);
  Pose followed = pose_in(kWidth, kHeight, 3, estimator);
  followed.body = pose_in(kWidth, kHeight, 2, estimator).body;
  EXPECT_EQ(poses[3].rgb, fit_into(draw_skeleton(skeleton_of(followed), kWidth, kHeight), 64, 112).rgb);
}

TEST_F(PreprocessRun, OneFrameIsWrittenAndNoneIsRefused) {
  write_video(1, 30);
  EXPECT_EQ(run().frames, 1);
  EXPECT_TRUE(was_told("needs two"));
  options.fps = 10;
  expect_error(ErrorCode::kInvalidArgument, "no frame at 10 a second", [&] { run(); });
  std::ofstream(options.video_path) << "no video";
  expect_error(ErrorCode::kBadFile, "video.mkv", [&] { run(); });
}

TEST_F(PreprocessRun, Mp4FilesHaveEveryFrameAndTheSound) {
  constexpr int kRate = 16'000;
  std::vector<std::vector<float>> tone(1, std::vector<float>(kRate));
  for (std::size_t i = 0; i < tone[0].size(); ++i) tone[0][i] = 0.5f * std::sin(static_cast<float>(i) * 0.1f);
  write_wav(folder / "tone.wav", tone[0], kRate);
  write_video(6, 30, SoundTrack{.file = folder / "tone.wav", .duration = std::nullopt, .ends_video = false});
  options.lossless = false;
  run();
  // Lossless files of an earlier run would stand in for these.
  EXPECT_FALSE(fs::exists(options.save_path / "src_pose.mkv"));
  EXPECT_EQ(frames_of(options.save_path / "src_pose.mp4").size(), 6u);
  EXPECT_EQ(frames_of(options.save_path / "src_face.mp4").size(), 6u);
  EXPECT_TRUE(has_sound(options.save_path / "src_pose.mp4"));
  EXPECT_FALSE(has_sound(options.save_path / "src_face.mp4"));
  options.lossless = true;
  run();
  EXPECT_FALSE(fs::exists(options.save_path / "src_pose.mp4"));
  const auto sound = open_sound(options.save_path / "src_pose.mkv");
  EXPECT_EQ(sound->rate(), kRate);
  std::vector<float> all;
  for (SoundSamples samples; sound->read(samples);)
    all.insert(all.end(), samples[0].begin(), samples[0].end());
  ASSERT_EQ(all.size(), 3200u);  // as long as the frames
  for (std::size_t i = 0; i < all.size(); ++i) ASSERT_NEAR(all[i], tone[0][i], 1e-4) << i;
}

TEST_F(PreprocessRun, AStoppedOrFailedRunLeavesNothing) {
  on_event = [&](const Event& event) {
    if (const auto* progress = std::get_if<PhaseProgress>(&event)) cancelled = progress->done == 3;
  };
  options.replace_flag = true;
  expect_error(ErrorCode::kCancelled, "stopped", [&] { run(); });
  EXPECT_TRUE(fs::is_empty(options.save_path));
  on_event = {};
  cancelled = false;
  const FileSizeLimit limit(20'000);
  expect_error(ErrorCode::kIo, "cannot write", [&] { run(); });
  EXPECT_TRUE(fs::is_empty(options.save_path));
}

TEST_F(PreprocessRun, OptionsThatContradictAreRefused) {
  const auto refused = [&](const std::string& part, const std::function<void(PreprocessOptions&)>& change) {
    PreprocessOptions changed = options;
    change(changed);
    expect_error(ErrorCode::kInvalidArgument, part, [&] { check_preprocess_options(changed); });
  };
  check_preprocess_options(options);
  refused("`ckpt_path` is missing", [](auto& o) { o.ckpt_path.clear(); });
  refused("`video_path` is missing", [](auto& o) { o.video_path.clear(); });
  refused("`refer_path` is missing", [](auto& o) { o.refer_path.clear(); });
  refused("`save_path` is missing", [](auto& o) { o.save_path.clear(); });
  refused("`resolution_area` 0 720", [](auto& o) { o.resolution_area = {0, 720}; });
  refused("`fps` 0", [](auto& o) { o.fps = 0; });
  refused("`fps` nan", [](auto& o) { o.fps = std::nan(""); });
  refused("`retarget_flag` is for animation", [](auto& o) { o.replace_flag = o.retarget_flag = true; });
  refused("`edited_frame` is missing", [](auto& o) { o.edited_refer = "a.png"; });
  refused("for `retarget_flag`", [](auto& o) { o.edited_refer = o.edited_frame = "a.png"; });
  refused("`face_size` 15", [](auto& o) { o.face_size = 15; });
  refused("`w_len` 0", [](auto& o) { o.w_len = 0; });
}

}  // namespace
}  // namespace wan::test
