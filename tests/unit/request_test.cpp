// Requests as text, checkpoint defaults.

#include <gtest/gtest.h>

#include <fstream>

#include "support/expect_error.h"
#include "support/temp_folder.h"
#include "wan/request.h"

namespace wan::test {
namespace {

TEST(VideoSize, TakesBothSpellings) {
  EXPECT_EQ(parse_video_size("832*480"), (VideoSize{832, 480}));
  EXPECT_EQ(parse_video_size("832x480"), (VideoSize{832, 480}));
  EXPECT_EQ(format_video_size({832, 480}), "832*480");
  for (const char* text :
       {"", "832", "832*", "*480", "832*480*3", "-16*16", "0*16", "a*b", "832 * 480", "99999999999*16"})
    EXPECT_THROW(parse_video_size(text), Error) << text;
}

class ModelDefaultsTest : public testing::Test {
 protected:
  ModelDefaults load(const std::string& json) {
    std::ofstream(folder_ / "generation_config.json") << json;
    return load_model_defaults("t2v-A14B", folder_.path());
  }
  TempFolder folder_;
};

/// wan/configs/shared_config.py of the official code: sample_neg_prompt.
constexpr const char* kNegativePrompt =
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，JPEG"
    "压缩残留，"
    "丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，静"
    "止不动的画面，"
    "杂乱的背景，三条腿，背景人很多，倒着走";

struct OfficialDefaults {
  std::string task;
  ModelDefaults values;
};

// Wan-Video/Wan2.2 at 42bf4cfaa384bc21833865abc2f9e6c0e67233dc: frame_num, sample_fps, sample_steps, sample_shift,
// sample_guide_scale (low noise, high noise) and boundary of wan/configs/{shared_config,wan_t2v_A14B,wan_i2v_A14B,
// wan_ti2v_5B}.py; size and solver are generate.py's defaults, but for ti2v-5B, which has no 1280*720: the README's.
const OfficialDefaults kOfficial[] = {
    {"t2v-A14B",
     {.size = {1280, 720},
      .frame_num = 81,
      .fps = 16,
      .sample_solver = "unipc",
      .sample_steps = 40,
      .sample_shift = 12.0,
      .sample_guide_scale = {.low_noise = 3.0, .high_noise = 4.0},
      .boundary = 0.875,
      .negative_prompt = kNegativePrompt}},
    {"i2v-A14B",
     {.size = {1280, 720},
      .frame_num = 81,
      .fps = 16,
      .sample_solver = "unipc",
      .sample_steps = 40,
      .sample_shift = 5.0,
      .sample_guide_scale = {.low_noise = 3.5, .high_noise = 3.5},
      .boundary = 0.9,
      .negative_prompt = kNegativePrompt}},
    {"s2v-14B",
     {.size = {1280, 720},
      .frame_num = 80,
      .fps = 16,
      .sample_solver = "unipc",
      .sample_steps = 40,
      .sample_shift = 3.0,
      .sample_guide_scale = {.low_noise = 4.5, .high_noise = 4.5},
      .boundary = std::nullopt,
      .negative_prompt = "画面模糊，最差质量，画面模糊，细节模糊不清，情绪激动剧烈，手快速抖动，字幕，丑陋的"
                         "，残缺的，多余的手指，画得不好"
                         "的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，静止不动的画面，"
                         "杂乱的背景，三条腿，背景人很多，"
                         "倒着走"}},
    {"animate-14B",
     {.size = {1280, 720},
      .frame_num = 77,
      .fps = 30,
      .sample_solver = "unipc",
      .sample_steps = 20,
      .sample_shift = 5.0,
      .sample_guide_scale = {.low_noise = 1.0, .high_noise = 1.0},
      .boundary = std::nullopt,
      .negative_prompt = kNegativePrompt}},
    {"ti2v-5B",
     {.size = {1280, 704},
      .frame_num = 121,
      .fps = 24,
      .sample_solver = "unipc",
      .sample_steps = 50,
      .sample_shift = 5.0,
      .sample_guide_scale = {.low_noise = 5.0, .high_noise = 5.0},
      .boundary = std::nullopt,
      .negative_prompt = kNegativePrompt}},
};

TEST_F(ModelDefaultsTest, AreEveryTasksOfficialConstantsWithoutAFile) {
  for (const auto& [task, official] : kOfficial) {
    SCOPED_TRACE(task);
    const ModelDefaults defaults = load_model_defaults(task, folder_.path());
    EXPECT_EQ(defaults.size, official.size);
    EXPECT_EQ(defaults.frame_num, official.frame_num);
    EXPECT_EQ(defaults.fps, official.fps);
    EXPECT_EQ(defaults.sample_solver, official.sample_solver);
    EXPECT_EQ(defaults.sample_steps, official.sample_steps);
    EXPECT_EQ(defaults.sample_shift, official.sample_shift);
    EXPECT_EQ(defaults.sample_guide_scale.low_noise, official.sample_guide_scale.low_noise);
    EXPECT_EQ(defaults.sample_guide_scale.high_noise, official.sample_guide_scale.high_noise);
    EXPECT_EQ(defaults.boundary, official.boundary);
    EXPECT_EQ(defaults.negative_prompt, official.negative_prompt);
  }
}

TEST_F(ModelDefaultsTest, AreOverriddenKeyByKey) {
  const ModelDefaults defaults = load(
      R"({"task": "t2v-A14B", "size": "128*64", "frame_num": 5, "sample_guide_scale": [2, 5.5], "fps": 8})");
  EXPECT_EQ(defaults.size, (VideoSize{128, 64}));
  EXPECT_EQ(defaults.frame_num, 5);
  EXPECT_EQ(defaults.sample_guide_scale.low_noise, 2.0);
  EXPECT_EQ(defaults.sample_guide_scale.high_noise, 5.5);
  EXPECT_EQ(defaults.fps, 8.0);
  EXPECT_EQ(defaults.sample_steps, 40);
}

TEST_F(ModelDefaultsTest, NameTheKeyThatIsWrong) {
  for (const auto& [key, json] : std::vector<std::pair<std::string, std::string>>{
           {"size", R"({"size": "wide"})"},
           {"frame_num", R"({"frame_num": 0})"},
           {"frame_num", R"({"frame_num": 1.5})"},
           {"sample_steps", R"({"sample_steps": "many"})"},
           {"boundary", R"({"boundary": 875})"},
           {"fps", R"({"fps": -1})"},
           {"sample_guide_scale", R"({"sample_guide_scale": [1, 2, 3]})"},
           {"steps", R"({"steps": 20})"}})
    expect_error(ErrorCode::kBadFile, "\"" + key + "\"", [&] { load(json); });
  expect_error(ErrorCode::kBadFile, "JSON", [&] { load("{"); });
  expect_error(ErrorCode::kBadFile, "'fps' stands twice; correct it",
               [&] { load(R"({"fps": 8, "fps": 16})"); });
  expect_error(ErrorCode::kInvalidArgument, "i2v-A14B", [&] { load(R"({"task": "i2v-A14B"})"); });
}

TEST_F(ModelDefaultsTest, TasksThatDoNotExistAreRefused) {
  expect_error(ErrorCode::kInvalidArgument, "t2v-14B",
               [&] { load_model_defaults("t2v-14B", folder_.path()); });
}

}  // namespace
}  // namespace wan::test
