// What is kept of a run while it denoises: when, where, and what stays in the end.

#include "kept/state_keeper.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <fstream>

#include "kept/kept_generations.h"
#include "support/expect_error.h"
#include "support/plain_backend.h"
#include "support/temp_folder.h"
#include "unit/kept_run_settings.h"

namespace wan::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

class FakeClock {
 public:
  KeepInterval interval(std::chrono::duration<double> every) {
    return {.every = every, .clock = [this] { return now; }};
  }
  std::chrono::steady_clock::time_point now;
};

TEST(KeepSchedule, WaitsForTheInterval) {
  FakeClock clock;
  KeepSchedule schedule(clock.interval(minutes(5)));
  EXPECT_FALSE(schedule.is_due(false));
  EXPECT_TRUE(schedule.is_due(true)) << "an expert's end is not waited for";
  clock.now += minutes(5) - milliseconds(1);
  EXPECT_FALSE(schedule.is_due(false));
  clock.now += milliseconds(1);
  EXPECT_TRUE(schedule.is_due(false));
  schedule.keep([&] { clock.now += milliseconds(100); });
  clock.now += minutes(5) - milliseconds(1);
  EXPECT_FALSE(schedule.is_due(false)) << "from the end of the last one on";
  clock.now += milliseconds(1);
  EXPECT_TRUE(schedule.is_due(false));
}

TEST(KeepSchedule, TakesAHundredthOfTheTimeOnASlowDisk) {
  FakeClock clock;
  KeepSchedule schedule(clock.interval(seconds(1)));
  schedule.keep([&] { clock.now += seconds(20); });
  clock.now += seconds(1999);
  EXPECT_FALSE(schedule.is_due(false));
  EXPECT_FALSE(schedule.is_due(true));
  clock.now += seconds(1);
  EXPECT_TRUE(schedule.is_due(false));
}

TEST(KeepSchedule, OfNoIntervalIsNeverDue) {
  FakeClock clock;
  const KeepSchedule schedule(clock.interval(seconds(0)));
  clock.now += minutes(1000);
  EXPECT_FALSE(schedule.is_due(false));
  EXPECT_FALSE(schedule.is_due(true));
}

TEST(KeptGenerations, HaveNamesThatTellThemApart) {
  const fs::path newest = "a folder/video.mp4.latents.safetensors";
  const fs::path earlier = "a folder/video.mp4.latents.earlier.safetensors";
  EXPECT_EQ(earlier_generation(newest), earlier);
  EXPECT_EQ(newest_generation(earlier), newest);
  EXPECT_EQ(newest_generation(newest), newest);
  EXPECT_EQ(newest_generation("earlier.safetensors"), "earlier.safetensors");
}

class StateKeeperTest : public testing::Test {
 protected:
  StateKeeperTest() {
    state_.slots.emplace_back(DType::kF32, Shape{16, 2, 2, 2});
    for (Tensor& slot : state_.slots) std::fill_n(slot.as<float>(), slot.elements(), 1.0f);
  }

  StateKeeper keeper(const LatentsFile& file, const SavedLatents* resumed = nullptr) {
    return {context_, file, resumed, clock_.interval(minutes(5))};
  }
  Reached reached(int step) {
    state_.next_step = step;
    return {.state = state_, .condition = none_, .done = done_};
  }
  /// Five minutes on, after this step.
  void step(StateKeeper& keeper, int step) {
    clock_.now += minutes(5);
    keeper.after_step(reached(step), false);
  }
  std::vector<std::string> names(const fs::path& folder) const {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(folder)) found.push_back(entry.path().filename());
    std::sort(found.begin(), found.end());
    return found;
  }
  using Names = std::vector<std::string>;

  const TempFolder folder_;
  const GenerationSettings settings_ = kept_run_settings();
  PlainBackend backend_;
  Workspace workspace_{backend_.allocator()};
  SelfCommunicator alone_;
  ExecContext exec_{.backend = backend_, .workspace = workspace_, .communicator = alone_};
  std::vector<std::string> notices_;
  const EventHandler on_event_ = [this](const Event& event) {
    if (const auto* notice = std::get_if<Notice>(&event)) notices_.push_back(notice->message);
  };
  const RunContext context_{.exec = exec_,
                            .text_exec = exec_,
                            .transformer_exec = exec_,
                            .settings = settings_,
                            .on_event = on_event_};
  DenoiseState state_;
  Tensor none_;
  FinishedSegments done_;
  FakeClock clock_;
};

TEST_F(StateKeeperTest, HasTheNewestStateAndTheOneBefore) {
  const fs::path file = folder_ / "v.latents.safetensors";
  StateKeeper keeper = this->keeper({.path = file});
  step(keeper, 3);
  EXPECT_EQ(names(folder_.path()), Names{"v.latents.safetensors"});
  for (const int done : {7, 11}) {
    step(keeper, done);
    EXPECT_EQ(names(folder_.path()), (Names{"v.latents.earlier.safetensors", "v.latents.safetensors"}));
  }
  EXPECT_EQ(load_latents(file).next_step, 11);
  EXPECT_EQ(load_latents(earlier_generation(file)).next_step, 7);
  EXPECT_TRUE(load_latents(file).automatic);
  keeper.finish({});
  EXPECT_EQ(names(folder_.path()), Names{});
  EXPECT_EQ(notices_, Names{});
}

TEST_F(StateKeeperTest, FinishedSegmentsAreReadFromTheFileThatKeepsThem) {
  const fs::path file = folder_ / "v.latents.safetensors";
  const Shape shape{16, 2, 2, 2};
  const auto filled = [&](float value) {
    Tensor latent(DType::kF32, shape);
    std::fill_n(latent.as<float>(), latent.elements(), value);
    return latent;
  };
  SavedLatents latents;
  latents.segment = 2;
  latents.segments = 3;
  latents.settings = settings_;
  latents.slots.push_back(filled(3.0f));
  for (const float value : {1.0f, 2.0f}) latents.done.add(filled(value));
  save_latents(file, latents);
  FinishedSegments& done = latents.done;
  const std::byte* const held = done[0].data();
  done.move_to(folder_ / "nothing.safetensors");
  EXPECT_EQ(done[0].data(), held) << "what cannot be read back stays";
  done.move_to(file);
  EXPECT_NE(done[0].data(), held);
  for (const std::size_t segment : {0u, 1u})
    EXPECT_EQ(done[segment].as<float>()[127], static_cast<float>(segment + 1));
}

TEST_F(StateKeeperTest, LeavesTheLastStateAlone) {
  const fs::path file = folder_ / "v.latents.safetensors";
  StateKeeper keeper = this->keeper({.path = file});
  for (const int done : {3, 7}) step(keeper, done);
  expect_error(ErrorCode::kCancelled, "9 of 40 steps are kept in " + file.string(),
               [&] { keeper.keep_and_rethrow(reached(9), Error(ErrorCode::kCancelled, "stopped")); });
  EXPECT_EQ(names(folder_.path()), Names{"v.latents.safetensors"});
  EXPECT_EQ(load_latents(file).next_step, 9);
}

TEST_F(StateKeeperTest, LeavesNoStateElsewhere) {
  const fs::path away = folder_ / "away";
  StateKeeper keeper =
      this->keeper({.path = away / "v.safetensors", .spares = {folder_ / "spare.safetensors"}});
  step(keeper, 3);
  EXPECT_EQ(names(folder_.path()), Names{"spare.safetensors"});
  fs::create_directory(away);
  expect_error(ErrorCode::kCancelled, "9 of 40 steps are kept in " + away.string(),
               [&] { keeper.keep_and_rethrow(reached(9), Error(ErrorCode::kCancelled, "stopped")); });
  EXPECT_EQ(names(folder_.path()), Names{"away"});
}

TEST_F(StateKeeperTest, GoesOnWithTheFilesOfTheRunBefore) {
  const fs::path file = folder_ / "v.latents.safetensors";
  {
    StateKeeper killed = keeper({.path = file});
    for (const int done : {3, 7}) step(killed, done);
  }
  const SavedLatents newest = load_latents(file);
  const SavedLatents before = load_latents(earlier_generation(file));
  {
    StateKeeper second = keeper({.path = file}, &newest);
    step(second, 8);
    EXPECT_EQ(load_latents(file).next_step, 8);
    EXPECT_EQ(load_latents(earlier_generation(file)).next_step, 7);
  }
  std::ofstream(file) << "torn";
  StateKeeper third = keeper({.path = file}, &before);
  step(third, 9);
  EXPECT_EQ(load_latents(file).next_step, 9);
  EXPECT_EQ(load_latents(earlier_generation(file)).next_step, 7) << "what is torn must not replace it";
  third.finish({});
  EXPECT_EQ(names(folder_.path()), Names{});
}

TEST_F(StateKeeperTest, AFullDiskIsToldOnceAndTriedAgain) {
  const fs::path away = folder_ / "away";
  const fs::path spare = folder_ / "spare.safetensors";
  StateKeeper keeper = this->keeper({.path = away / "v.safetensors", .spares = {spare}});
  for (const int done : {3, 7}) step(keeper, done);
  EXPECT_EQ(load_latents(spare).next_step, 7);
  ASSERT_EQ(notices_.size(), 1u);
  EXPECT_NE(notices_[0].find("the run goes on"), std::string::npos) << notices_[0];
  EXPECT_NE(notices_[0].find(spare.string()), std::string::npos) << notices_[0];
  fs::create_directory(away);
  step(keeper, 9);
  EXPECT_EQ(load_latents(away / "v.safetensors").next_step, 9);
  EXPECT_EQ(names(folder_.path()), (Names{"away", "spare.safetensors"})) << "the one before is there";
  step(keeper, 11);
  EXPECT_EQ(names(folder_.path()), Names{"away"});
  EXPECT_EQ(names(away), (Names{"v.earlier.safetensors", "v.safetensors"}));
}

/// No file may be longer than a few bytes.
class NoRoomForFiles {
 public:
  NoRoomForFiles() : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &limit_);
    const rlimit low{16, limit_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &low);
  }
  ~NoRoomForFiles() {
    ::setrlimit(RLIMIT_FSIZE, &limit_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit limit_{};
  void (*handler_)(int);
};

TEST_F(StateKeeperTest, WhereNothingCanBeWrittenTheRunGoesOn) {
  const fs::path file = folder_ / "v.latents.safetensors";
  StateKeeper keeper = this->keeper({.path = file});
  const auto keep_last = [&] {
    keeper.keep_and_rethrow(reached(9), Error(ErrorCode::kCancelled, "stopped"));
  };
  {
    const NoRoomForFiles full;
    for (const int done : {3, 5}) step(keeper, done);
    EXPECT_EQ(notices_.size(), 1u);
    EXPECT_NE(notices_[0].find("`keep_dir`"), std::string::npos) << notices_[0];
    expect_error(ErrorCode::kCancelled, "nothing could be kept", keep_last);
  }
  step(keeper, 7);
  EXPECT_EQ(load_latents(file).next_step, 7);
  const NoRoomForFiles full;
  expect_error(ErrorCode::kCancelled, "an earlier state of the run is kept in " + file.string(), keep_last);
  EXPECT_EQ(load_latents(file).next_step, 7);
  EXPECT_EQ(names(folder_.path()), Names{"v.latents.safetensors"});
}

TEST_F(StateKeeperTest, WhatAPersonAskedForStays) {
  const fs::path asked = folder_ / "asked.safetensors";
  StateKeeper keeper = this->keeper({.path = asked, .requested = true});
  for (const int done : {3, 7}) step(keeper, done);
  keeper.finish({});
  EXPECT_EQ(names(folder_.path()), Names{"asked.safetensors"});
}

}  // namespace
}  // namespace wan::test
