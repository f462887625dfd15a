// Requests as text, checkpoint defaults, events as JSON.

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "support/expect_error.h"
#include "support/temp_folder.h"
#include "wan/events.h"
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

TEST_F(ModelDefaultsTest, AreTheOfficialConstantsWithoutAFile) {
  const ModelDefaults defaults = load_model_defaults("t2v-A14B", folder_.path());
  EXPECT_EQ(defaults.size, (VideoSize{1280, 720}));
  EXPECT_EQ(defaults.frame_num, 81);
  EXPECT_EQ(defaults.sample_steps, 40);
  EXPECT_EQ(defaults.sample_shift, 12.0);
  EXPECT_EQ(defaults.boundary, 0.875);
  EXPECT_EQ(defaults.sample_guide_scale.low_noise, 3.0);
  EXPECT_EQ(defaults.sample_guide_scale.high_noise, 4.0);
  EXPECT_EQ(defaults.fps, 16.0);
  EXPECT_TRUE(defaults.negative_prompt.starts_with("色调艳丽，过曝"));
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
  expect_error(ErrorCode::kInvalidArgument, "i2v-A14B", [&] { load(R"({"task": "i2v-A14B"})"); });
}

TEST_F(ModelDefaultsTest, TasksThatDoNotExistOrDoNotExistYetAreRefused) {
  expect_error(ErrorCode::kUnsupported, "s2v-14B", [&] { load_model_defaults("s2v-14B", folder_.path()); });
  expect_error(ErrorCode::kInvalidArgument, "t2v-14B",
               [&] { load_model_defaults("t2v-14B", folder_.path()); });
}

TEST(Events, AreOneJsonObjectEach) {
  const auto json = nlohmann::json::parse(to_json(PhaseProgress{.phase = Phase::kHighNoise,
                                                                .done = 2,
                                                                .total = 9,
                                                                .seconds = 1.5,
                                                                .step = 2,
                                                                .steps = 20,
                                                                .timestep = 979}));
  EXPECT_EQ(json.at("event"), "progress");
  EXPECT_EQ(json.at("phase"), "high_noise");
  EXPECT_EQ(json.at("step"), 2);
  EXPECT_EQ(json.at("seconds"), 1.5);
  const auto settings = nlohmann::json::parse(to_json(RunSettings{{{"prompt", "a \"red\"\ncircle"}}}));
  EXPECT_EQ(settings.at("values").at("prompt"), "a \"red\"\ncircle");
  EXPECT_EQ(to_json(Notice{"one\ntwo"}).find('\n'), std::string::npos);
  EXPECT_NO_THROW(nlohmann::json::parse(to_json(Notice{"\xff not UTF-8"})));
}

}  // namespace
}  // namespace wan::test
