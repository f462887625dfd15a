// What an animation's clips are made of, against the official pipeline's lists of frames, and how its picture is fitted.

#include <gtest/gtest.h>

#include <vector>

#include "settings/settings.h"
#include "support/compare.h"
#include "support/expect_error.h"
#include "support/golden.h"
#include "tasks/animate/character_picture.h"
#include "tasks/animate/source.h"

namespace wan::test {
namespace {

/// The official pipeline's: which frame of the source each frame of each clip has, and which of them become the video.
struct OfficialClips {
  OfficialClips(int frames, int clip_frames, int carried) {
    const int step = clip_frames - carried;
    const int over = (frames - carried) % step;
    const int target = frames + (over == 0 ? 0 : step - over);
    std::vector<int> padded;
    int index = 0;
    bool back = false;
    while (static_cast<int>(padded.size()) < target) {
      padded.push_back(index);
      index += back ? -1 : 1;
      if (index == 0 || index == frames - 1) back = !back;
    }
    for (int start = 0; start + carried < target; start += step) {
      clips.emplace_back(padded.begin() + start, padded.begin() + start + clip_frames);
      const std::vector<int>& clip = clips.back();
      shown.insert(shown.end(), clip.begin() + (start == 0 ? 0 : carried), clip.end());
    }
    shown.resize(static_cast<std::size_t>(frames));
  }

  std::vector<std::vector<int>> clips;
  std::vector<int> shown;
};

TEST(AnimationClips, AreTheOfficialOnesOfEveryLength) {
  for (const int clip_frames : {9, 21, 77})
    for (const int carried : {1, 5})
      // The official pipeline fails where there are no more frames than are carried over.
      for (int frames = carried + 1; frames <= 200; ++frames) {
        SCOPED_TRACE(::testing::Message()
                     << frames << " frames, " << clip_frames << " a clip, " << carried << " carried");
        const OfficialClips official(frames, clip_frames, carried);
        const AnimationSettings ours{.carried_frames = carried, .clip_frames = clip_frames};
        ASSERT_EQ(ours.clips_of(frames), official.clips.size());
        std::vector<int> shown;
        for (int index = 0; index < ours.clips_of(frames); ++index) {
          const AnimationSettings::Clip clip = ours.clip(index, frames);
          for (int i = 0; i < clip_frames; ++i)
            ASSERT_EQ(back_and_forth(clip.first + i, frames),
                      official.clips[static_cast<std::size_t>(index)][static_cast<std::size_t>(i)]);
          for (std::int64_t i = 0; i < clip.shown; ++i)
            shown.push_back(static_cast<int>(back_and_forth(clip.first + clip.carried + i, frames)));
        }
        ASSERT_EQ(shown, official.shown);
      }
}

TEST(AnimationClips, ShorterOnesThanAreCarriedAreOneClip) {
  const AnimationSettings settings{.carried_frames = 5, .clip_frames = 77};
  for (int frames = 2; frames <= 5; ++frames) {
    EXPECT_EQ(settings.clips_of(frames), 1);
    EXPECT_EQ(settings.clip(0, frames).shown, frames);
  }
}

TEST(ClipReader, GivesEveryFrameOfEveryClipAndHoldsOneClip) {
  constexpr std::int64_t kFrames = 20;
  constexpr VideoSize kSize{32, 32};
  const auto video = golden_path("animate/moves/src_pose.mp4");
  std::vector<Image> all;
  for (const auto reader = open_video(video); auto frame = reader->next();)
    all.push_back(std::move(frame->image));
  ASSERT_EQ(all.size(), kFrames);
  for (const int clip_frames : {5, 9, 13, 21, 77})
    for (const int carried : {1, 5}) {
      if (carried >= clip_frames) continue;
      const AnimationSettings settings{.carried_frames = carried, .clip_frames = clip_frames};
      ClipReader reader(video, kSize, kFrames, clip_frames);
      for (int index = 0; index < settings.clips_of(kFrames); ++index) {
        const std::int64_t first = settings.clip(index, kFrames).first;
        for (std::int64_t i = 0; i < clip_frames; ++i)
          ASSERT_EQ(reader.frame(first, i).rgb,
                    all[static_cast<std::size_t>(back_and_forth(first + i, kFrames))].rgb);
      }
    }
  ClipReader longer(video, kSize, kFrames + 1, 77);
  expect_error(ErrorCode::kBadFile, "ends after 20 of 21 frames", [&] { longer.frame(0, 0); });
  expect_error(ErrorCode::kBadFile, "is 32*32, and was 48*32", [&] {
    ClipReader(video, {48, 32}, kFrames, 77);
  });
}

TEST(CharacterPicture, IsFittedAsByOpenCv) {
  const GoldenFile golden(golden_path("models/animate/fits.safetensors"));
  for (const char* const name : {"larger", "smaller", "half", "tall", "same", "wide", "column"}) {
    const Tensor given = golden.tensor(std::string(name) + ".picture");
    const Tensor expected = golden.tensor(std::string(name) + ".fitted");
    Image picture = make_image(static_cast<int>(given.dim(1)), static_cast<int>(given.dim(0)));
    std::copy_n(given.as<std::uint8_t>(), given.elements(), picture.rgb.begin());
    const Image fitted =
        fit_character(picture, {static_cast<int>(expected.dim(1)), static_cast<int>(expected.dim(0))});
    const std::vector<std::uint8_t> pixels(expected.as<std::uint8_t>(),
                                           expected.as<std::uint8_t>() + expected.elements());
    EXPECT_EQ(fitted.rgb, pixels) << name;
  }
}

}  // namespace
}  // namespace wan::test
