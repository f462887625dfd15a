// Which files a run keeps its latents in, and what it says of those that it finds there.

#include "engine/kept_places.h"

#include <gtest/gtest.h>

#include <fstream>
#include <limits>

#include "kept/kept_generations.h"
#include "support/expect_error.h"
#include "support/temp_folder.h"
#include "unit/kept_run_settings.h"

namespace wan::test {
namespace {

namespace fs = std::filesystem;

class KeptPlacesTest : public testing::Test {
 protected:
  KeptPlacesTest() { request_.save_file = folder_ / "v.mp4"; }

  /// What a run that was killed after this step has left; the file as the next run loads it.
  std::optional<SavedLatents> leave(const fs::path& path, int step, bool automatic = true) const {
    SavedLatents latents;
    latents.slots.emplace_back(DType::kF32, Shape{16, 2, 2, 2});
    std::fill_n(latents.slots[0].as<float>(), latents.slots[0].elements(), 1.0f);
    latents.next_step = step;
    latents.automatic = automatic;
    latents.settings = kept_run_settings();
    save_latents(path, latents);
    return load_latents(path);
  }
  LatentsFile choose(const std::optional<SavedLatents>& resumed = std::nullopt) {
    notices_.clear();
    return choose_latents_file(request_, resumed, notices_);
  }
  void expect_notice(const std::string& what, const fs::path& file) const {
    ASSERT_EQ(notices_.size(), 1u);
    for (const std::string& part : {what + " in " + file.string(), "`from_latents` " + file.string()})
      EXPECT_NE(notices_[0].find(part), std::string::npos) << notices_[0];
  }
  static void tear(const fs::path& path) { fs::resize_file(path, fs::file_size(path) / 2); }

  const TempFolder folder_;
  const fs::path first_ = folder_ / "v.mp4.latents.safetensors";
  const fs::path second_ = folder_ / "v.mp4.2.latents.safetensors";
  GenerationRequest request_;
  std::vector<std::string> notices_;
};

TEST_F(KeptPlacesTest, WhatAnotherRunHasKeptIsToldAndLeftAlone) {
  EXPECT_EQ(choose().path, first_);
  EXPECT_TRUE(notices_.empty());
  leave(first_, 12);
  EXPECT_EQ(choose().path, second_);
  expect_notice("12 of 40 steps", first_);
  leave(earlier_generation(first_), 9);
  tear(first_);
  EXPECT_EQ(choose().path, second_);
  expect_notice("9 of 40 steps", earlier_generation(first_));
  fs::remove(first_);
  EXPECT_EQ(choose().path, second_) << "the machine went down between two renames";
  expect_notice("9 of 40 steps", earlier_generation(first_));
  leave(first_, 40);
  EXPECT_EQ(choose().path, second_);
  expect_notice("its finished latents", first_);
}

TEST_F(KeptPlacesTest, AnUnnamedVideoIsKnownByAllButItsTime) {
  leave(folder_ / "t2v_red_20261128_080000.mp4.latents.safetensors", 12);
  leave(folder_ / "t2v_red_20261128_090000.mp4.latents.safetensors", 13);
  leave(folder_ / "t2v_blue_20261128_090000.mp4.latents.safetensors", 14);
  leave(folder_ / "t2v_red_round_20261128_090000.mp4.latents.safetensors", 15);
  request_.save_file = folder_ / "t2v_red_20261128_100000.mp4";
  EXPECT_EQ(choose().path, folder_ / "t2v_red_20261128_100000.mp4.latents.safetensors");
  expect_notice("13 of 40 steps", folder_ / "t2v_red_20261128_090000.mp4.latents.safetensors");
}

TEST_F(KeptPlacesTest, ARunGoesOnInItsFile) {
  const std::optional<SavedLatents> kept = leave(first_, 12);
  EXPECT_EQ(choose(kept).path, first_);
  leave(earlier_generation(first_), 9);
  EXPECT_EQ(choose(kept).path, first_);
  EXPECT_TRUE(notices_.empty());
  std::ofstream(earlier_generation(first_)) << "another's";
  EXPECT_EQ(choose(kept).path, second_);
}

TEST_F(KeptPlacesTest, ARunThatGoesOnFromTheEarlierStateReplacesADamagedOneAlone) {
  leave(first_, 12);
  const std::optional<SavedLatents> before = leave(earlier_generation(first_), 9);
  EXPECT_EQ(choose(before).path, second_);
  tear(first_);
  EXPECT_EQ(choose(before).path, first_);
  fs::remove(first_);
  EXPECT_EQ(choose(before).path, first_);
}

TEST_F(KeptPlacesTest, TheFileThatIsAskedForGetsStatesWhereNothingIsThere) {
  request_.save_latents = folder_ / "asked.safetensors";
  EXPECT_EQ(choose().of_state(), request_.save_latents);
  const std::optional<SavedLatents> kept = leave(request_.save_latents, 12, /*automatic=*/false);
  EXPECT_EQ(choose().path, request_.save_latents);
  EXPECT_EQ(choose().of_state(), first_);
  expect_notice("12 of 40 steps", request_.save_latents);
  EXPECT_EQ(choose(kept).of_state(), request_.save_latents);
  EXPECT_TRUE(choose(kept).requested);
  leave(request_.save_latents, 40, /*automatic=*/false);
  EXPECT_EQ(choose().of_state(), first_);
  EXPECT_TRUE(notices_.empty()) << "of finished ones only the decoding would be left";
}

TEST_F(KeptPlacesTest, AFolderThatIsNamedComesFirstAndTheVideosNext) {
  request_.keep_dir = folder_ / "keep";
  fs::create_directory(request_.keep_dir);
  const fs::path there = request_.keep_dir / "v.mp4.latents.safetensors";
  EXPECT_EQ(choose().path, there);
  EXPECT_EQ(choose().spares, (std::vector<fs::path>{there, first_}));
  request_.save_latents = folder_ / "asked.safetensors";
  EXPECT_EQ(choose().path, request_.save_latents);
  EXPECT_EQ(choose().of_state(), there);
}

TEST_F(KeptPlacesTest, ADamagedFileNamesTheOneBefore) {
  leave(first_, 12);
  tear(first_);
  expect_error(ErrorCode::kBadFile, first_.string(), [&] { load_kept_latents(first_); });
  leave(earlier_generation(first_), 9);
  expect_error(ErrorCode::kBadFile, "`from_latents` " + earlier_generation(first_).string(),
               [&] { load_kept_latents(first_); });
}

TEST_F(KeptPlacesTest, NoRoomIsToldWithWhereAndHowMuch) {
  const LatentsFile file = choose();
  tell_missing_room(file, 1000, true, notices_);
  EXPECT_TRUE(notices_.empty());
  constexpr std::int64_t kHuge = std::int64_t{1} << 60;
  tell_missing_room(file, kHuge, true, notices_);
  ASSERT_EQ(notices_.size(), 1u);
  for (const std::string& part :
       {std::string("3458764513820.5 MB"), folder_.path().string(), std::string("`keep_dir`")})
    EXPECT_NE(notices_[0].find(part), std::string::npos) << notices_[0];
  // 1280x720, 81 frames, a sampler of two slots, and an image's condition.
  EXPECT_EQ(state_bytes(2, {16, 21, 90, 160}, {20, 21, 90, 160}), 8192 + 4 * (2 * 16 + 20) * 21 * 90 * 160);
  EXPECT_EQ(state_bytes(2, {16, 21, 90, 160}, {}, 7), 8192 + 4 * (2 + 6) * 16 * 21 * 90 * 160);
}

TEST_F(KeptPlacesTest, OptionsThatCannotBeAreRefused) {
  const auto refuse = [&](const std::string& part) {
    expect_error(ErrorCode::kInvalidArgument, part, [&] { check_keeping(request_); });
  };
  check_keeping(request_);
  for (const double value :
       {-1.0, std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    request_.keep_every = std::chrono::duration<double>(value);
    refuse("`keep_every`");
  }
  request_.keep_every = std::chrono::seconds(0);
  check_keeping(request_);
  request_.keep_dir = folder_ / "nowhere";
  refuse("does not exist");
  std::ofstream(folder_ / "file") << "x";
  request_.keep_dir = folder_ / "file";
  refuse("is a regular file; name a folder");
  request_.keep_dir = "/proc/self";
  refuse("`keep_dir` /proc/self: cannot write");
  request_.keep_dir = folder_.path();
  check_keeping(request_);
}

}  // namespace
}  // namespace wan::test
