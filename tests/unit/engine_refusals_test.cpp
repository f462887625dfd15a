// What the engine refuses before it loads anything, and the member that each refusal names.

#include <cmath>
#include <functional>
#include <limits>
#include <utility>

#include "support/expect_error.h"
#include "unit/engine_fixture.h"

namespace wan::test {
namespace {

class EngineRefusalsTest : public EngineTest {};

TEST_F(EngineRefusalsTest, RefusesOptionsThatItCannotMeet) {
  expect_error(ErrorCode::kUnsupported, "CUDA",
               [] { Engine({.ckpt_dir = kCheckpoint, .device = "cuda:0"}); });
  expect_error(ErrorCode::kInvalidArgument, "`device`",
               [] { Engine({.ckpt_dir = kCheckpoint, .device = "tpu"}); });
  expect_error(ErrorCode::kInvalidArgument, "`precision`",
               [] { Engine({.ckpt_dir = kCheckpoint, .precision = "fp8"}); });
  expect_error(ErrorCode::kInvalidArgument, "`vae_precision`",
               [] { Engine({.ckpt_dir = kCheckpoint, .vae_precision = "fp16"}); });
  expect_error(ErrorCode::kInvalidArgument, "`threads`",
               [] { Engine({.ckpt_dir = kCheckpoint, .threads = -1}); });
  expect_error(ErrorCode::kBadFile, "does not exist", [&] { Engine({.ckpt_dir = folder_ / "nowhere"}); });
  expect_error(ErrorCode::kBadFile, "high_noise_model", [&] { Engine({.ckpt_dir = folder_.path()}); });
}

TEST_F(EngineRefusalsTest, AnErrorSaysWhichMemberIsWrong) {
  const Engine engine({.ckpt_dir = kCheckpoint, .threads = 1});
  const std::filesystem::path nowhere = folder_ / "nowhere";
  const std::pair<const char*, std::function<void(GenerationRequest&)>> requests[] = {
      {"task", [](auto& r) { r.task = "i2v-A14B"; }},
      {"prompt", [](auto& r) { r.prompt = ""; }},
      {"prompt", [](auto& r) { r.prompt = "\xff"; }},
      {"negative_prompt", [](auto& r) { r.negative_prompt = "\xff"; }},
      {"size",
       [](auto& r) {
         r.size = {33, 32};
       }},
      {"frame_num", [](auto& r) { r.frame_num = 6; }},
      {"sample_solver", [](auto& r) { r.sample_solver = "heun"; }},
      {"sample_steps", [](auto& r) { r.sample_steps = 0; }},
      {"sample_shift", [](auto& r) { r.sample_shift = -1; }},
      {"sample_guide_scale",
       [](auto& r) {
         r.sample_guide_scale = {1, INFINITY};
       }},
      {"rng", [](auto& r) { r.rng = "dice"; }},
      {"image", [](auto& r) { r.image = "cat.png"; }},
      {"last_image", [](auto& r) { r.last_image = "cat.png"; }},
      {"save_file", [](auto& r) { r.save_file = ""; }},
      {"save_file", [](auto& r) { r.save_file = "a.gif"; }},
      {"save_file", [&](auto& r) { r.save_file = nowhere / "a.mp4"; }},
      {"fps", [](auto& r) { r.output.fps = 0; }},
      {"codec", [](auto& r) { r.output.codec = "gif"; }},
      {"crf", [](auto& r) { r.output.crf = 99; }},
      {"save_latents", [](auto& r) { r.save_latents = "latents"; }},
      {"save_latents", [&](auto& r) { r.save_latents = nowhere / "a.safetensors"; }},
      {"from_latents", [&](auto& r) { r.from_latents = nowhere; }},
      {"dump_dir", [&](auto& r) { r.dump_dir = nowhere / "dump"; }},
      {"dump_taps", [](auto& r) { r.dump_taps = true; }},
  };
  for (const auto& [field, spoil] : requests) {
    GenerationRequest spoiled = request();
    spoil(spoiled);
    try {
      engine.check(spoiled);
      ADD_FAILURE() << field << " was accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.field(), field) << error.what();
    }
  }
  try {
    const Engine none({.ckpt_dir = nowhere});
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.field(), "ckpt_dir") << error.what();
  }
}

TEST_F(EngineRefusalsTest, RefusesSizesAndFrameNumbersThatNoVideoHas) {
  constexpr int kLeast = std::numeric_limits<int>::min();
  constexpr int kMost = std::numeric_limits<int>::max();
  const Engine text({.ckpt_dir = kCheckpoint});
  for (const VideoSize size :
       {VideoSize{0, 0}, {0, 64}, {-128, 64}, {-128, -64}, {kLeast, kLeast}, {kMost, 64}}) {
    GenerationRequest wrong = request();
    wrong.size = size;
    expect_error(ErrorCode::kInvalidArgument, "`size` " + format_video_size(size),
                 [&] { text.check(wrong); });
  }
  const Engine image({.ckpt_dir = kCheckpoint.parent_path() / "checkpoint_i2v"});
  for (const VideoSize size : {VideoSize{0, 0}, {-128, -64}, {-128, 64}}) {
    GenerationRequest wrong = request();
    wrong.task = "i2v-A14B";
    wrong.image = kCheckpoint.parent_path() / "landscape.png";
    wrong.size = size;
    expect_error(ErrorCode::kInvalidArgument, "`size` " + format_video_size(size),
                 [&] { image.check(wrong); });
  }
  for (const auto& [frames, part] : {std::pair(100'001, "at most 99997"),
                                     {kMost, "at most 99997"},
                                     {99'999, "at most"},
                                     {99'996, "nearest is 99997"},
                                     {0, "nearest is 1"},
                                     {kLeast, "nearest is 1"}}) {
    GenerationRequest wrong = request();
    wrong.frame_num = frames;
    expect_error(ErrorCode::kInvalidArgument, part, [&] { text.check(wrong); });
  }
}

}  // namespace
}  // namespace wan::test
