// Whole generations of speech to video against the official pipeline: of three clips what the sound, the picture, the history and the
// poses become, every step, and the frames.

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <regex>

#include "engine/engine_internals.h"
#include "media/npy.h"
#include "support/compare.h"
#include "support/generation_backends.h"
#include "support/golden.h"
#include "support/temp_folder.h"
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

/// The values that a golden file keeps of an array: every n-th along each dimension.
Tensor strided_floats(const NpyView& view, const std::vector<std::int64_t>& strides) {
  std::vector<std::int64_t> shape;
  for (std::size_t i = 0; i < view.shape.size(); ++i)
    shape.push_back((view.shape[i] + strides[i] - 1) / strides[i]);
  Tensor result(DType::kF32, Shape(std::span<const std::int64_t>(shape)));
  std::vector<std::int64_t> at(shape.size(), 0);
  for (std::int64_t n = 0; n < result.elements(); ++n) {
    std::int64_t from = 0;
    for (std::size_t i = 0; i < at.size(); ++i) from = from * view.shape[i] + at[i] * strides[i];
    float value = 0;
    if (view.type == NpyType::kF32)
      std::memcpy(&value, view.data.data() + from * 4, 4);
    else
      value = static_cast<float>(std::to_integer<std::uint8_t>(view.data[static_cast<std::size_t>(from)]));
    result.as<float>()[n] = value;
    for (std::size_t i = at.size(); i-- > 0;) {
      if (++at[i] < shape[i]) break;
      at[i] = 0;
    }
  }
  return result;
}

Tensor golden_floats(const Tensor& golden) {
  Tensor result(DType::kF32, golden.shape());
  for (std::int64_t i = 0; i < golden.elements(); ++i)
    result.as<float>()[i] = golden.dtype() == DType::kU8 ? static_cast<float>(golden.as<std::uint8_t>()[i])
                                                         : golden.as<float>()[i];
  return result;
}

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

  /// Of the array with this name in a golden file, clip_RR_ left out.
  std::vector<std::int64_t> strides_of(const std::string& name, std::size_t rank) const {
    const std::string plain = std::regex_replace(name, std::regex("^clip_[0-9]+_"), "");
    if (!case_["strides"].contains(plain)) return std::vector<std::int64_t>(rank, 1);
    return case_["strides"][plain];
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
    const Tensor actual = strided_floats(file.view(), strides_of(name, file.view().shape.size()));
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
