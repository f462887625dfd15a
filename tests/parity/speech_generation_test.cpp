// Whole generations of speech to video against the official pipeline: of three clips what the sound, the picture, the history and the
// poses become, every step, and the frames.

#include <gtest/gtest.h>

#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "engine/engine_internals.h"
#include "media/npy.h"
#include "support/compare.h"
#include "support/generation_backends.h"
#include "support/golden.h"
#include "support/temp_folder.h"
#include "support/thinned_arrays.h"
#include "wan/engine.h"

namespace wan::test {
namespace {

// f32 on both sides, sums in another order, of which guidance multiplies differences by up to 2 * 4.5 - 1 = 8; and later clips begin with
// what earlier ones have left.
constexpr double kSpeechTolerance = 5e-5;
// 24 layers.
constexpr double kAudioTolerance = 2e-4;
// PyTorch computes its normals with vector approximations: absolute, and then rounded to bf16, an eighth of whose values lie that near
// to an edge.
constexpr double kRoundedNoise = 2e-2;

class SpeechGenerationParity : public ::testing::TestWithParam<std::tuple<const char*, const char*>> {
 protected:
  SpeechGenerationParity()
      : case_(nlohmann::json::parse(std::ifstream(speech(std::get<0>(GetParam()), ".json")))),
        golden_(speech(std::get<0>(GetParam()), ".safetensors")) {}

  static std::filesystem::path speech(const std::string& name, const char* extension = "") {
    return golden_path("speech") / (name + extension);
  }

  GenerationRequest request() const {
    GenerationRequest request;
    request.task = case_["task"];
    request.rng = "torch-cpu";
    request.prompt = case_["prompt"];
    request.negative_prompt = case_["negative_prompt"];
    request.size = parse_video_size(case_["size"].get<std::string>());
    request.seed = case_["base_seed"];
    request.sample_solver = case_["sample_solver"];
    request.sample_steps = case_["sample_steps"];
    request.sample_shift = case_["sample_shift"];
    const double scale = case_["sample_guide_scale"];
    request.sample_guide_scale = GuidanceScale{scale, scale};
    request.image = speech(case_["image"]);
    request.speech.audio = speech(case_["audio"]);
    if (!case_["pose_video"].is_null()) request.speech.pose_video = speech(case_["pose_video"]);
    if (!case_["num_clip"].is_null()) request.speech.num_clip = case_["num_clip"];
    request.speech.infer_frames = case_["infer_frames"];
    request.speech.start_from_ref = case_["start_from_ref"];
    request.speech.official_sync = true;
    request.save_file = folder_ / "frame_%05d.png";
    request.dump_dir = folder_ / "dump";
    return request;
  }

  nlohmann::json case_;
  GoldenFile golden_;
  TempFolder folder_;
};

TEST_P(SpeechGenerationParity, EveryDumpedTensorIsTheOfficialOne) {
  EngineOptions options;
  options.ckpt_dir = speech("checkpoint");
  options.threads = 2;
  options.precision = "fp32";
  make_engine(options, make_generation_backend(std::get<1>(GetParam()))).generate(request());
  for (const std::string& name : golden_.names()) {
    const std::filesystem::path path = folder_ / "dump" / (name + ".npy");
    if (name == "context_negative" && case_["sample_guide_scale"] == 1.0) continue;  // nothing needs it
    ASSERT_TRUE(std::filesystem::exists(path)) << name;
    const NpyFile file(path);
    const Tensor actual =
        strided_floats(file.view(), strides_of(case_["strides"], name, file.view().shape.size()));
    const Tensor expected = golden_floats(golden_.tensor(name));
    constexpr double kAny = std::numeric_limits<double>::infinity();
    if (name.ends_with("noise"))
      EXPECT_TRUE(all_close(actual, expected, kAny, kRoundedNoise)) << name;
    else if (name == "frames")
      EXPECT_TRUE(all_close(actual, expected, kAny, 1.0))
          << name;  // bytes are truncated: a value on an edge falls either way
    else
      EXPECT_TRUE(all_close(actual, expected,
                            name.find("audio") != std::string::npos ? kAudioTolerance : kSpeechTolerance))
          << name;
  }
}

std::string name_of(const ::testing::TestParamInfo<std::tuple<const char*, const char*>>& test) {
  return std::string(std::get<0>(test.param)) + "_" + std::get<1>(test.param);
}

INSTANTIATE_TEST_SUITE_P(Cases, SpeechGenerationParity,
                         ::testing::Combine(::testing::Values("unipc", "posed", "from_ref"),
                                            ::testing::Values(generation_backends().front())),
                         name_of);
INSTANTIATE_TEST_SUITE_P(OnEveryBackend, SpeechGenerationParity,
                         ::testing::Combine(::testing::Values("unguided"),
                                            ::testing::ValuesIn(generation_backends())),
                         name_of);

}  // namespace
}  // namespace wan::test
