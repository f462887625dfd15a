// Videos of one engine: several, stopped and resumed ones, and what its caller's handler throws.

#include "wan/engine.h"

#include <fstream>
#include <functional>

#include "support/expect_error.h"
#include "unit/engine_fixture.h"
#include "wan/tools.h"

namespace wan::test {
namespace {

TEST_F(EngineTest, OneEngineMakesSeveralVideosAndTheSameSeedTheSameOne) {
  Engine engine({.ckpt_dir = kCheckpoint, .threads = 2});
  GenerationRequest still = request();
  still.frame_num = 1;
  still.save_file = folder_ / "a.png";
  int loads = 0;
  const auto count_loads = [&](const Event& event) {
    if (const auto* phase = std::get_if<PhaseStarted>(&event)) loads += phase->phase == Phase::kLoad ? 1 : 0;
  };
  engine.generate(still, count_loads);
  still.save_file = folder_ / "b.png";
  const GenerationResult second = engine.generate(still, count_loads);
  EXPECT_EQ(loads, 1);
  EXPECT_EQ(second.frames, 1);
  EXPECT_EQ(second.seed, 1);
  still.save_file = folder_ / "c.png";
  still.seed = 2;
  engine.generate(still);
  const auto bytes = [&](const char* name) {
    std::ifstream stream(folder_ / name, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(stream), {});
  };
  EXPECT_EQ(bytes("a.png"), bytes("b.png"));
  EXPECT_NE(bytes("a.png"), bytes("c.png"));

  Engine forgetful({.ckpt_dir = kCheckpoint, .keep_models = false, .threads = 2});
  still.seed = 1;
  loads = 0;
  for (const char* name : {"d.png", "e.png"}) {
    still.save_file = folder_ / name;
    forgetful.generate(still, count_loads);
    EXPECT_EQ(bytes("a.png"), bytes(name));
  }
  EXPECT_EQ(loads, 2);
}

TEST_F(EngineTest, ACancelledRunKeepsItsStateAndGoesOnToTheSameVideo) {
  Engine engine({.ckpt_dir = kCheckpoint, .threads = 2});
  GenerationRequest whole = request();
  whole.sample_steps = 4;
  whole.frame_num = 1;
  whole.save_file = folder_ / "whole.png";
  engine.generate(whole);

  GenerationRequest stopped = whole;
  stopped.save_file = folder_ / "stopped.png";
  std::atomic<bool> cancelled{false};
  const auto stop_after_two = [&](const Event& event) {
    if (const auto* progress = std::get_if<PhaseProgress>(&event))
      cancelled = cancelled || progress->step == 2;
  };
  const std::string kept = stopped.save_file.string() + ".latents.safetensors";
  expect_error(ErrorCode::kCancelled, "2 of 4 steps are kept in " + kept,
               [&] { engine.generate(stopped, stop_after_two, &cancelled); });
  EXPECT_FALSE(std::filesystem::exists(stopped.save_file));

  GenerationRequest rest;
  rest.from_latents = kept;
  rest.save_file = folder_ / "rest.png";
  const GenerationResult result = engine.generate(rest);
  EXPECT_EQ(result.seed, 1);
  rest.sample_steps = 9;
  expect_error(ErrorCode::kInvalidArgument, "`sample_steps`", [&] { engine.check(rest); });
}

TEST_F(EngineTest, ARunStoppedBeforeItsFirstStepSaysThatNothingIsLost) {
  GenerationRequest still = request();
  still.sample_steps = 4;
  still.frame_num = 1;
  still.save_file = folder_ / "still.png";
  const std::string kept = still.save_file.string() + ".latents.safetensors";
  std::atomic<bool> cancelled{false};
  const auto stop_in = [&](Phase phase) {
    return [&cancelled, phase](const Event& event) {
      const auto* started = std::get_if<PhaseStarted>(&event);
      cancelled = cancelled || (started != nullptr && started->phase == phase);
    };
  };
  for (const Phase phase : {Phase::kLoad, Phase::kText, Phase::kHighNoise}) {
    Engine engine({.ckpt_dir = kCheckpoint, .threads = 1});
    cancelled = false;
    expect_error(ErrorCode::kCancelled, "before the first step was done; nothing is lost, start again",
                 [&] { engine.generate(still, stop_in(phase), &cancelled); });
    EXPECT_FALSE(std::filesystem::exists(kept));
  }
  const auto stop_after_two = [&](const Event& event) {
    if (const auto* progress = std::get_if<PhaseProgress>(&event))
      cancelled = cancelled || progress->step == 2;
  };
  Engine engine({.ckpt_dir = kCheckpoint, .threads = 1});
  cancelled = false;
  expect_error(ErrorCode::kCancelled, "2 of 4 steps",
               [&] { engine.generate(still, stop_after_two, &cancelled); });
  GenerationRequest rest;
  rest.from_latents = kept;
  rest.save_file = folder_ / "rest.png";
  for (const Phase phase : {Phase::kLoad, Phase::kText}) {
    Engine other({.ckpt_dir = kCheckpoint, .threads = 1});
    cancelled = false;
    expect_error(ErrorCode::kCancelled,
                 "the kept latents are still in " + kept + ": go on with `from_latents` " + kept,
                 [&] { other.generate(rest, stop_in(phase), &cancelled); });
  }
}

TEST_F(EngineTest, AListenerThatThrowsCostsNoStep) {
  Engine engine({.ckpt_dir = kCheckpoint, .threads = 2});
  GenerationRequest still = request();
  still.sample_steps = 4;
  still.frame_num = 1;
  still.save_file = folder_ / "still.png";
  const std::string kept = still.save_file.string() + ".latents.safetensors";
  const auto fail_after_two = [](const Event& event) {
    const auto* progress = std::get_if<PhaseProgress>(&event);
    if (progress != nullptr && progress->step == 2) throw std::runtime_error("the listener is gone");
  };
  expect_error(ErrorCode::kInternal, "the listener is gone; 2 of 4 steps are kept in " + kept,
               [&] { engine.generate(still, fail_after_two); });
  const auto fail_in_decode = [](const Event& event) {
    const auto* phase = std::get_if<PhaseStarted>(&event);
    if (phase != nullptr && phase->phase == Phase::kDecode) throw std::runtime_error("the listener is gone");
  };
  const std::string second = still.save_file.string() + ".2.latents.safetensors";
  expect_error(ErrorCode::kInternal, "the listener is gone; the finished latents are kept in " + second,
               [&] { engine.generate(still, fail_in_decode); });
  EXPECT_TRUE(std::filesystem::exists(kept)) << "another run's";
  EXPECT_FALSE(std::filesystem::exists(still.save_file));
}

TEST_F(EngineTest, WhatTheCallersHandlerThrowsIsAnErrorOfTheRun) {
  Engine engine({.ckpt_dir = kCheckpoint, .threads = 2});
  const auto throw_at = [&](const std::function<bool(const Event&)>& when, auto thrown,
                            const char* expected) {
    GenerationRequest asked = request();
    asked.save_file = folder_ / "x.png";
    asked.frame_num = 1;
    expect_error(ErrorCode::kInternal, expected, [&] {
      engine.generate(asked, [&](const Event& event) {
        if (when(event)) throw thrown;
      });
    });
  };
  const auto is_first = [](const Event& event) { return std::holds_alternative<RunSettings>(event); };
  const auto is_last = [](const Event& event) { return std::holds_alternative<Finished>(event); };
  const auto is_step = [](const Event& event) {
    const auto* progress = std::get_if<PhaseProgress>(&event);
    return progress != nullptr && progress->step == 1;
  };
  const auto is_frame = [](const Event& event) {
    const auto* progress = std::get_if<PhaseProgress>(&event);
    return progress != nullptr && progress->phase == Phase::kDecode;
  };
  throw_at(is_first, std::runtime_error("no screen"), "no screen");
  throw_at(is_first, 7, "no std::exception");
  throw_at(is_step, 7, "1 of 2 steps are kept");
  throw_at(is_frame, 7, "the finished latents are kept");
  throw_at(is_last, std::runtime_error("no screen"), "x.png is whole, but");
  throw_at(is_last, 7, "x.png is whole, but");
}

TEST_F(EngineTest, InspectNamesTheModelsAndTokenizeCounts) {
  const std::vector<InspectedModel> models = inspect(kCheckpoint);
  ASSERT_EQ(models.size(), 4u);
  for (const InspectedModel& model : models) EXPECT_EQ(model.findings, "") << model.path;
  const TokenizedText text = tokenize(kCheckpoint, "a  red&amp;blue circle");
  EXPECT_EQ(text.cleaned, "a red&blue circle");
  EXPECT_EQ(text.ids.back(), 1);
  EXPECT_FALSE(text.truncated);
}

}  // namespace
}  // namespace wan::test
