// The steps of character animation's preprocessing against OpenCV and the official code.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/fnv_hash.h"
#include "media/fit_image.h"
#include "media/resample.h"
#include "preprocess/detection.h"
#include "preprocess/face_crop.h"
#include "preprocess/fit.h"
#include "preprocess/frame_choice.h"
#include "preprocess/heatmaps.h"
#include "preprocess/mask.h"
#include "preprocess/pose_crop.h"
#include "preprocess/retarget.h"
#include "preprocess/shapes.h"
#include "preprocess/skeleton.h"
#include "support/expect_error.h"
#include "support/golden.h"
#include "support/rule_values.h"

namespace wan::test {
namespace {

const GoldenFile& golden() {
  static const GoldenFile file(golden_path("preprocess/steps.safetensors"));
  return file;
}

/// An array [cases, ...], case by case.
template <typename T>
class Cases {
 public:
  explicit Cases(const std::string& name) : tensor_(golden().tensor(name)) {}
  std::int64_t size() const { return tensor_.shape()[0]; }
  std::span<const T> operator[](std::int64_t index) const {
    const std::int64_t width = tensor_.elements() / size();
    return {tensor_.as<T>() + index * width, static_cast<std::size_t>(width)};
  }
  T only(std::int64_t index) const { return (*this)[index][0]; }

 private:
  Tensor tensor_;
};

template <typename T>
std::int64_t hash_of(const std::vector<T>& values) {
  return static_cast<std::int64_t>(fnv_hash(std::as_bytes(std::span(values))));
}

TEST(PreprocessShapes, EqualOpenCv) {
  const Cases<std::int32_t> in("shapes.in");
  const Cases<std::int64_t> expected("shapes");
  constexpr Color kColor = {200, 100, 50};
  for (std::int64_t i = 0; i < in.size(); ++i) {
    const auto v = in[i];
    Image image = make_image(96, 64);
    if (v[0] == 0) fill_polygon(image, ellipse_polygon({v[1], v[2]}, v[3], v[4], v[5]), kColor);
    if (v[0] == 1) fill_circle(image, {v[1], v[2]}, v[3], kColor);
    if (v[0] == 2) draw_line(image, {v[1], v[2]}, {v[3], v[4]}, kColor, v[5]);
    EXPECT_EQ(hash_of(image.rgb), expected.only(i))
        << i << ": " << v[0] << ' ' << v[1] << ' ' << v[2] << ' ' << v[3] << ' ' << v[4] << ' ' << v[5];
  }
}

TEST(PreprocessShapes, StayInsideOfTheImage) {
  Image image = make_image(3, 2);
  constexpr std::int64_t kFar = 1'000'000;
  draw_line(image, {-kFar, -kFar}, {kFar, kFar}, {1, 1, 1}, 9);
  draw_line(image, {kFar, 0}, {kFar, 1}, {1, 1, 1}, 1);
  fill_circle(image, {-kFar, kFar}, 100, {1, 1, 1});
  fill_polygon(image, ellipse_polygon({kFar, 0}, 1'000'000, 3, -360), {1, 1, 1});
  expect_error(ErrorCode::kInvalidArgument, "-360 to 360", [] { ellipse_polygon({}, 1, 1, 361); });
}

TEST(PreprocessFit, EqualsTheOfficialSizesAndOpenCv) {
  const Cases<std::int32_t> in("fits.in");
  const Cases<std::int64_t> expected("fits");
  for (std::int64_t i = 0; i < in.size(); ++i) {
    const auto v = in[i];
    const VideoSize size = size_of_area(v[0], v[1], v[2]);
    EXPECT_EQ(size, (VideoSize{v[3], v[4]})) << v[0] << 'x' << v[1];
    if (expected.only(i) == 0) continue;
    const Image fitted = fit_to_area(rule_picture(static_cast<std::uint64_t>(i), v[0], v[1]), v[2]);
    EXPECT_EQ(hash_of(fitted.rgb), expected.only(i)) << v[0] << 'x' << v[1] << " to " << v[3] << 'x' << v[4];
  }
  expect_error(ErrorCode::kInvalidArgument, "larger area", [] { size_of_area(1000, 10, 1000); });
  expect_error(ErrorCode::kInvalidArgument, "up to 4x4", [] { resize_opencv_area(make_image(4, 4), 5, 2); });
}

TEST(PreprocessFrames, AreTheOfficialOnes) {
  const Cases<double> in("frames.in");
  for (std::int64_t i = 0; i < in.size(); ++i) {
    const auto v = in[i];
    const auto frames = static_cast<std::int64_t>(v[0]);
    const FrameChoice choice = choose_frames(frames, v[1], v[0] / v[1], v[2]);
    EXPECT_EQ(choice.indices, golden().integers("frames." + std::to_string(i)));
    EXPECT_FALSE(choice.by_duration);
  }
  EXPECT_EQ(choose_frames(50, 12.5, 4.0, 0).indices.size(), 50u);
  EXPECT_EQ(choose_frames(50, 12.5, 4.0, 0).fps, 12.5);
  // A file whose frames last twice as long as its rate says.
  const FrameChoice longer = choose_frames(50, 25, 4.0, 25);
  EXPECT_TRUE(longer.by_duration);
  EXPECT_EQ(longer.indices.size(), 100u);
  EXPECT_EQ(longer.indices.back(), 49);
}

TEST(PreprocessDetection, IsTheOfficialOne) {
  const Cases<std::int32_t> sizes("boxes.in");
  const Cases<double> expected("boxes");
  int found = 0;
  for (std::int64_t i = 0; i < sizes.size(); ++i) {
    const bool rows = i % 4 != 3;
    Detections all{.rows = rows ? 30 : 84, .columns = rows ? 6 : 24, .values = {}};
    all.values =
        rule_units(static_cast<std::uint64_t>(1000 + i), static_cast<std::size_t>(all.rows * all.columns));
    const auto row = [&](std::int64_t r) { return all.values.begin() + r * all.columns; };
    if (rows) {
      for (std::int64_t r = 0; r < all.rows; ++r) {
        const auto v = row(r);
        for (int c = 0; c < 4; ++c) v[c] *= 600;
        for (int c = 0; c < 2; ++c) v[c + 2] = v[c] + v[c + 2] / 2;
        v[4] *= v[4];
        v[5] = std::floor(v[5] * 3) + (i % 5 == 0 ? 1.0f : 0.0f);
      }
      if (i % 7 == 0) {  // all of them nearly in one place
        const std::array first = {row(0)[0], row(0)[1], row(0)[2], row(0)[3]};
        for (std::int64_t r = 0; r < all.rows; ++r)
          for (std::size_t c = 0; c < 4; ++c)
            row(r)[static_cast<std::int64_t>(c)] = first[c] + row(r)[static_cast<std::int64_t>(c)] / 20;
      }
    } else {
      for (std::int64_t r = 0; r < all.rows; ++r)
        for (std::int64_t c = 0; c < all.columns; ++c) {
          float& value = row(r)[c];
          value = r < 4 ? value * 400 : value * value * 0.7f + (r == 4 && i % 8 == 3 ? 0.3f : 0.0f);
        }
    }
    const int width = sizes[i][0], height = sizes[i][1];
    const PersonBox box = find_person(all, 640, 640, width, height).value_or(PersonBox{});
    const auto e = expected[i];
    found += e[4] >= 0;
    EXPECT_EQ(box.left, e[0]) << i;
    EXPECT_EQ(box.top, e[1]) << i;
    EXPECT_EQ(box.right, e[2]) << i;
    EXPECT_EQ(box.bottom, e[3]) << i;
    EXPECT_NEAR(box.score, e[4], 1e-6) << i;
  }
  EXPECT_GT(found, 15);
  EXPECT_LT(found, sizes.size());
  const Cases<std::int64_t> input("detector_input");
  EXPECT_EQ(hash_of(detector_input(rule_picture(7, 50, 40), 64, 48)), input.only(0));
  expect_error(ErrorCode::kBadFile, "[3, 2]", [] {
    find_person({.rows = 3, .columns = 2, .values = std::vector<float>(6)}, 640, 640, 10, 10);
  });
}

TEST(PreprocessDetection, LeavesOutWhoIsMuchShorterThanTheLongest) {
  // A thin one of 600 pixels, and one of 200 that is larger: below two fifths of 600.
  for (const bool thin_first : {true, false}) {
    Detections all{.rows = 2, .columns = 6, .values = {0, 0, 600, 10, 0.9f, 0, 100, 100, 300, 300, 0.8f, 0}};
    if (!thin_first) std::rotate(all.values.begin(), all.values.begin() + 6, all.values.end());
    if (!thin_first) std::swap(all.values[4], all.values[10]);
    EXPECT_EQ(find_person(all, 640, 640, 640, 640).value_or(PersonBox{}).right, 600) << thin_first;
    // Of 250 pixels it counts.
    float* const larger = all.values.data() + (thin_first ? 6 : 0);
    larger[2] = larger[3] = 350;
    EXPECT_EQ(find_person(all, 640, 640, 640, 640).value_or(PersonBox{}).right, 350) << thin_first;
  }
}

TEST(PreprocessCrop, IsTheOfficialOne) {
  const Image frame = rule_picture(11, 120, 90);
  const Cases<double> in("crops.in"), regions("crops.regions");
  const Cases<float> expected("crops");
  for (std::int64_t i = 0; i < in.size(); ++i) {
    const auto v = in[i];
    const PoseRegion region = pose_region({v[0], v[1], v[2], v[3], v[4]}, 120, 90, 192, 256);
    const double numbers[] = {region.centre_x, region.centre_y, region.width, region.height};
    for (std::size_t k = 0; k < 4; ++k) EXPECT_NEAR(numbers[k], regions[i][k], 1e-9) << i;
    const std::vector<float> input = pose_input(frame, region, 192, 256, PoseChannels::kBgr);
    double worst = 0;
    for (std::size_t k = 0; k < expected[i].size(); ++k)
      worst = std::max(worst, std::abs(static_cast<double>(input[997 * k]) - expected[i][k]));
    EXPECT_LT(worst, 2e-4) << i;  // a corner off by a pixel is off by 1 and more
  }
}

TEST(PreprocessCrop, ChannelsCanBeInOrder) {
  Image red = make_image(30, 40);
  for (std::size_t i = 0; i < red.rgb.size(); i += 3) red.rgb[i] = 255;
  const PoseRegion region = pose_region({0, 0, 30, 40, 0.9}, 30, 40, 3, 4);
  const std::size_t middle = 7;
  const std::vector<float> bgr = pose_input(red, region, 3, 4, PoseChannels::kBgr);
  const std::vector<float> rgb = pose_input(red, region, 3, 4, PoseChannels::kRgb);
  EXPECT_GT(bgr[24 + middle], 2.0f);
  EXPECT_LT(bgr[middle], -2.0f);
  EXPECT_GT(rgb[middle], 2.0f);
  EXPECT_LT(rgb[24 + middle], -1.5f);
}

TEST(PreprocessHeatmaps, GiveTheOfficialPoints) {
  const Cases<double> in("heatmaps.in");
  const Cases<float> expected("heatmaps");
  std::vector<float> maps;
  for (std::int64_t i = 0; i < in.size(); ++i)
    for (int y = 0; y < 64; ++y)
      for (int x = 0; x < 48; ++x) {
        double sum = 0;
        for (std::size_t k = 0; k < 8; k += 4) {
          const double dx = x - in[i][k], dy = y - in[i][k + 1], sigma = in[i][k + 2];
          sum += in[i][k + 3] * std::exp(-(dx * dx + dy * dy) / (2 * sigma * sigma));
        }
        maps.push_back(static_cast<float>(sum));
      }
  const std::vector<PosePoint> points =
      decode_heatmaps(maps, static_cast<int>(in.size()), 48, 64, {301.5, 244.25, 333, 444});
  for (std::int64_t i = 0; i < in.size(); ++i) {
    const PosePoint& point = points[static_cast<std::size_t>(i)];
    EXPECT_NEAR(point.x, expected[i][0], 1e-3) << i;
    EXPECT_NEAR(point.y, expected[i][1], 1e-3) << i;
    EXPECT_NEAR(point.score, expected[i][2], 1e-6) << i;
  }
}

/// The golden script's points_of().
Pose pose_of(std::span<const float> given) {
  constexpr float kBody[23][2] = {{.50f, .20f}, {.52f, .18f}, {.48f, .18f}, {.54f, .19f}, {.46f, .19f},
                                  {.58f, .32f}, {.42f, .32f}, {.63f, .45f}, {.37f, .45f}, {.66f, .57f},
                                  {.34f, .57f}, {.55f, .58f}, {.45f, .58f}, {.56f, .75f}, {.44f, .75f},
                                  {.56f, .92f}, {.44f, .92f}, {.58f, .95f}, {.59f, .95f}, {.56f, .94f},
                                  {.42f, .95f}, {.41f, .95f}, {.44f, .94f}};
  const std::vector<float> values = rule_units(static_cast<std::uint64_t>(given[0]), kBodyPoints * 3);
  std::vector<PosePoint> points;
  for (std::size_t i = 0; i < kBodyPoints; ++i) {
    constexpr float kFace[2] = {.5f, .19f};
    const float* const place = i < 23 ? kBody[i] : i < 91 ? kFace : i < 112 ? kBody[9] : kBody[10];
    points.push_back({(place[0] + (values[3 * i] - 0.5f) * given[3]) * given[1],
                      (place[1] + (values[3 * i + 1] - 0.5f) * given[3]) * given[2],
                      values[3 * i + 2] * 0.5f + given[4]});
  }
  return group_points(points, static_cast<int>(given[1]), static_cast<int>(given[2]));
}

TEST(PreprocessPoses, AreGroupedAndDrawnAsOfficially) {
  const Cases<float> in("poses.in"), body("poses.body");
  const Cases<std::int32_t> faces("poses.faces");
  const Cases<std::int64_t> expected("poses");
  for (std::int64_t i = 0; i < in.size(); ++i) {
    const Pose pose = pose_of(in[i]);
    for (std::size_t k = 0; k < pose.body.size(); ++k) {
      EXPECT_NEAR(pose.body[k].x, body[i][3 * k], 1e-6);
      EXPECT_NEAR(pose.body[k].y, body[i][3 * k + 1], 1e-6);
      EXPECT_NEAR(pose.body[k].score, body[i][3 * k + 2], 1e-6);
    }
    const std::optional<FaceBox> face = face_box(pose);
    ASSERT_TRUE(face.has_value());
    const auto e = faces[i];
    EXPECT_EQ((std::array{face->left, face->right, face->top, face->bottom}),
              (std::array{e[0], e[1], e[2], e[3]}))
        << i;
    EXPECT_EQ(hash_of(draw_skeleton(skeleton_of(pose), pose.width, pose.height).rgb), expected.only(i)) << i;
  }
}

TEST(PreprocessPoses, WhatIsNotToBeSeenIsTold) {
  Pose pose{.width = 100, .height = 50};
  for (PosePoint& point : pose.body) point = {-0.1f, 0.5f, 0.1f};
  EXPECT_TRUE(is_outside(pose));
  pose.body[7].x = 0.2f;
  EXPECT_FALSE(is_outside(pose));
  EXPECT_FALSE(face_box(pose).has_value());  // all points in one place
  for (std::size_t i = 0; i < pose.face.size(); ++i)
    pose.face[i] = {-0.5f - 0.001f * static_cast<float>(i), -0.5f + 0.001f * static_cast<float>(i), 1};
  EXPECT_FALSE(face_box(pose).has_value());  // beside the frame
  pose.face[3].x = std::nanf("");
  EXPECT_FALSE(face_box(pose).has_value());
  Skeleton nowhere;
  for (SkeletonPoint& point : nowhere.body) point = {std::nan(""), 1e30, 1};
  EXPECT_EQ(draw_skeleton(nowhere, 20, 20).rgb, make_image(20, 20).rgb);
}

TEST(PreprocessRetargeting, IsTheOfficialOne) {
  for (const char* const name : {"whole", "hips", "upper", "edited", "edited_heads"}) {
    SCOPED_TRACE(name);
    const std::string prefix = std::string("retargeted.") + name;
    const Cases<float> in(prefix + ".in");
    const bool edited = golden().integers(prefix + ".edited")[0] != 0;
    std::vector<Pose> poses;
    for (std::int64_t i = 0; i < in.size(); ++i) poses.push_back(pose_of(in[i]));
    std::vector<std::string> notices;
    const Retargeting retargeting(
        poses[0], poses[1], edited ? std::optional(EditedPoses{poses[2], poses[3]}) : std::nullopt, notices);
    EXPECT_TRUE(notices.empty());
    std::vector<Pose> frames = {poses[0]};
    frames.insert(frames.end(), poses.begin() + (edited ? 4 : 2), poses.end());
    const Cases<double> body(prefix + ".body"), hands(prefix + ".hands");
    const Cases<std::int64_t> hashes(prefix);
    ASSERT_EQ(static_cast<std::size_t>(body.size()), frames.size());
    for (std::size_t i = 0; i < frames.size(); ++i) {
      const Skeleton skeleton = retargeting.apply(frames[i]);
      const auto frame = static_cast<std::int64_t>(i);
      for (std::size_t k = 0; k < skeleton.body.size(); ++k) {
        EXPECT_NEAR(skeleton.body[k].x, body[frame][3 * k], 1e-3) << i << ' ' << k;
        EXPECT_NEAR(skeleton.body[k].y, body[frame][3 * k + 1], 1e-3) << i << ' ' << k;
        EXPECT_NEAR(skeleton.body[k].score, body[frame][3 * k + 2], 1e-6);
      }
      for (std::int64_t hand = 0; hand < 2; ++hand) {
        const auto& ours = hand == 0 ? skeleton.left_hand : skeleton.right_hand;
        const auto e = hands[2 * frame + hand];
        for (std::size_t k = 0; k < ours.size(); ++k) {
          EXPECT_EQ(ours[k].x, e[3 * k]) << i << ' ' << hand << ' ' << k;
          EXPECT_EQ(ours[k].y, e[3 * k + 1]);
          EXPECT_NEAR(ours[k].score, e[3 * k + 2], 1e-6);
        }
      }
      EXPECT_EQ(hash_of(draw_skeleton(skeleton, poses[1].width, poses[1].height).rgb), hashes.only(frame))
          << i;
    }
  }
}

TEST(PreprocessRetargeting, SaysWhatCannotBeMeasured) {
  const Pose person = pose_of(std::array{21.f, 640.f, 360.f, .04f, .6f});
  Pose short_bone = person;
  short_bone.body[18] = short_bone.body[13];
  std::vector<std::string> notices;
  const Retargeting retargeting(short_bone, person, {}, notices);
  ASSERT_EQ(notices.size(), 1u);
  EXPECT_NE(notices[0].find("1 of 19 bones"), std::string::npos);
  for (const SkeletonPoint& point : retargeting.apply(short_bone).body)
    EXPECT_TRUE(std::isfinite(point.x) && std::isfinite(point.y));
  Pose flat = person;
  for (PosePoint& point : flat.body) point.y = 0.5f;
  expect_error(ErrorCode::kBadFile, "no height", [&] { Retargeting(person, flat, {}, notices); });
}

TEST(PreprocessMask, IsTheOfficialOne) {
  const Image frame = rule_picture(99, 70, 50);
  const Cases<std::int32_t> in("masks.in");
  const Cases<std::int64_t> expected("masks");
  for (std::int64_t i = 0; i < in.size(); ++i) {
    const auto v = in[i];
    Mask mask{70, 50, std::vector<std::uint8_t>(70 * 50)};
    for (std::size_t k = 0; k < 8; k += 4)
      for (int y = v[k + 1]; y < std::min(v[k + 1] + v[k + 3], 50); ++y)
        for (int x = v[k]; x < std::min(v[k] + v[k + 2], 70); ++x)
          mask.levels[static_cast<std::size_t>(y * 70 + x)] = 1;
    const Mask shaped = shaped_mask(mask, {.iterations = v[9], .k = v[8], .w_len = v[10], .h_len = v[11]});
    EXPECT_EQ(hash_of(shaped.levels), expected[i][0]) << i;
    EXPECT_EQ(hash_of(background_of(frame, shaped).rgb), expected[i][1]) << i;
  }
}

TEST(PreprocessMask, EmptyAndNarrowOnesStayAsTheyAre) {
  Mask mask{20, 10, std::vector<std::uint8_t>(200)};
  EXPECT_TRUE(shaped_mask(mask, {}).is_empty());
  mask.levels[45] = 1;
  fill_blocks(mask, 1, 1);
  EXPECT_EQ(std::ranges::count(mask.levels, 1), 1);
  EXPECT_EQ(picture_of(mask).rgb[45 * 3], 255);
  expect_error(ErrorCode::kInvalidArgument, "`k` 0", [] { check_mask_shape({.k = 0}); });
  expect_error(ErrorCode::kInvalidArgument, "`iterations` -1", [] { check_mask_shape({.iterations = -1}); });
}

}  // namespace
}  // namespace wan::test
