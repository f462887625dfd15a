// What speech to video makes of pictures and of the number of its frames.

#include <gtest/gtest.h>

#include <algorithm>

#include "media/image_size.h"
#include "settings/settings.h"
#include "support/compare.h"
#include "support/expect_error.h"
#include "support/golden.h"
#include "tasks/s2v/pictures.h"

namespace wan {
namespace {

using test::all_close;
using test::expect_error;
using test::Expected;
using test::golden_path;
using test::GoldenFile;

GoldenFile pictures() {
  return GoldenFile(golden_path("speech_pictures/pictures.safetensors"));
}

TEST(SpeechSize, IsTheOfficialOne) {
  const Tensor sizes = pictures().tensor("sizes");
  ASSERT_GE(sizes.dim(0), 60);
  const std::int64_t* row = sizes.as<std::int64_t>();
  for (std::int64_t i = 0; i < sizes.dim(0); ++i, row += 5) {
    const ImageSize picture{static_cast<int>(row[0]), static_cast<int>(row[1])};
    EXPECT_EQ(size_within_area(picture, row[2], 64),
              (ImageSize{static_cast<int>(row[3]), static_cast<int>(row[4])}))
        << picture.width << "x" << picture.height << " within " << row[2];
  }
}

TEST(SpeechSize, OfAPictureThatFitsNowhereIsRefused) {
  expect_error(ErrorCode::kInvalidArgument, "larger size", [] { size_within_area({100, 100}, 1000, 64); });
}

TEST(SpeechPictures, AreResizedAndPaddedAsTorchvisionDoes) {
  const GoldenFile golden = pictures();
  for (const char* name : {"down", "up", "pads_width", "pads_height", "odd", "same"}) {
    SCOPED_TRACE(name);
    const Tensor levels = golden.tensor(std::string(name) + ".in");
    Image image = make_image(static_cast<int>(levels.dim(1)), static_cast<int>(levels.dim(0)));
    std::copy_n(levels.as<std::uint8_t>(), image.rgb.size(), image.rgb.begin());
    const Expected picture = golden.expected(std::string(name) + ".picture");
    const VideoSize size{static_cast<int>(picture.whole[1]), static_cast<int>(picture.whole[0])};
    EXPECT_TRUE(all_close(reference_frame(image, size), picture, 0.0));
    // Weights in f32 on both sides.
    EXPECT_TRUE(all_close(pose_frame(image, size), golden.expected(std::string(name) + ".pose"), 1e-6));
    EXPECT_EQ(pads_reference(image, size), std::string(name).starts_with("pads"));
  }
}

TEST(SpeechFrames, AreThoseOfTheClipsLessWhatIsLeftOut) {
  SpeechSettings settings;
  settings.clips = 3;
  EXPECT_EQ(settings.frames(), 240);
  EXPECT_EQ(settings.first_frame_shown(), 4) << "three frames are left out, and their time is held";
  settings.official_sync = true;
  EXPECT_EQ(settings.frames(), 237);
  EXPECT_EQ(settings.first_frame_shown(), 1);
  settings.start_from_ref = true;
  EXPECT_EQ(settings.frames(), 240);
  settings.official_sync = false;
  EXPECT_EQ(settings.first_frame_shown(), 1);
}

}  // namespace
}  // namespace wan
