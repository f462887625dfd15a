// Whole generations against the official pipeline: every file of a dump, from tokens to the bytes that go to
// the encoder.

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <regex>

#include "engine/engine_internals.h"
#include "json/strict_json.h"
#include "media/npy.h"
#include "support/compare.h"
#include "support/generation_backends.h"
#include "support/golden.h"
#include "support/temp_folder.h"
#include "wan/engine.h"

namespace wan::test {
namespace {

// PyTorch computes its normals with vector approximations of log, sin and cos: absolute.
constexpr double kNoiseTolerance = 2e-6;
constexpr double kSigmaTolerance = 1e-6;
// f32 on both sides; sums in another order through the text encoder.
constexpr double kContextTolerance = 2e-5;
// Bicubic weights in f32 on both sides; Lanczos is integer arithmetic.
constexpr double kPixelTolerance = 1e-6;
// One pass of the VAE's encoder.
constexpr double kConditionTolerance = 2e-5;
// A step begins with what rounding and noise have left so far, and guidance multiplies the predictions'
// differences by up to 2 * 4 - 1 = 7. The largest difference seen, over six steps, is 4.5e-6.
constexpr double kStepTolerance = 2e-5;
// The random VAE multiplies what latents differ by: 1.7e-5 seen where AVX2 computes, 2.1e-5 with AVX-512.
constexpr double kFramesTolerance = 4e-5;
// Each layer rounds to 8 bits of mantissa: 0.5% and 0.8% seen.
constexpr double kBf16StepTolerance = 2e-2;
constexpr double kBf16LatentTolerance = 2e-2;
constexpr double kBf16FrameTolerance = 2e-2;
// Bytes are truncated, not rounded: a value on an edge falls either way.
constexpr double kGreyLevels = 1.0;

Tensor read_npy(const std::filesystem::path& path) {
  const NpyFile file(path);
  const NpyView& view = file.view();
  const DType dtype = view.type == NpyType::kF32   ? DType::kF32
                      : view.type == NpyType::kF64 ? DType::kF64
                      : view.type == NpyType::kI64 ? DType::kI64
                                                   : DType::kU8;
  Tensor tensor(dtype, Shape(std::span<const std::int64_t>(view.shape)));
  std::memcpy(tensor.view().data(), view.data.data(), view.data.size());
  return tensor;
}

/// Values of any dtype as f32, for the comparator.
Tensor as_floats(const Tensor& tensor) {
  Tensor floats(DType::kF32, tensor.shape());
  for (std::int64_t i = 0; i < tensor.elements(); ++i) {
    floats.as<float>()[i] = tensor.dtype() == DType::kI64  ? static_cast<float>(tensor.as<std::int64_t>()[i])
                            : tensor.dtype() == DType::kU8 ? static_cast<float>(tensor.as<std::uint8_t>()[i])
                                                           : tensor.as<float>()[i];
  }
  return floats;
}

/// What a golden file keeps, as f32.
Expected as_floats(const Expected& expected) {
  return {as_floats(expected.kept), expected.whole, expected.step};
}

::testing::AssertionResult matches(const std::string& name, const Tensor& actual, const Expected& expected) {
  if (actual.dtype() != expected.kept.dtype())
    return ::testing::AssertionFailure()
           << "dtype " << dtype_name(actual.dtype()) << ", expected " << dtype_name(expected.kept.dtype());
  constexpr double kAny = std::numeric_limits<double>::infinity();
  const Tensor a = as_floats(actual);
  const Expected b = as_floats(expected);
  static const std::regex exact("(tokens|mask)_.*|timesteps|step_[0-9]+_timestep");
  if (name == "image") return all_close(a, b, kAny, kPixelTolerance);
  if (name == "condition") return all_close(a, b, kConditionTolerance);
  if (std::regex_match(name, exact)) return all_close(a, b, 0.0);
  if (name == "noise") return all_close(a, b, kAny, kNoiseTolerance);
  if (name == "frames") return all_close(a, b, kAny, kGreyLevels);
  if (name == "frames_float") return all_close(a, b, kFramesTolerance);
  if (name == "sigmas") return all_close(a, b, kSigmaTolerance);
  if (name.starts_with("context_")) return all_close(a, b, kContextTolerance);
  return all_close(a, b, kStepTolerance);
}

/// What a golden file's case asks for, outputs apart.
GenerationRequest request_of(const nlohmann::json& asked) {
  GenerationRequest request;
  request.task = asked.value("task", "t2v-A14B");
  request.rng = "torch-cpu";  // whatever the device
  request.prompt = asked["prompt"];
  if (asked.contains("image")) request.image = golden_path("pipeline") / asked["image"].get<std::string>();
  if (!asked["negative_prompt"].is_null()) request.negative_prompt = asked["negative_prompt"];
  request.size = parse_video_size(asked["size"].get<std::string>());
  request.frame_num = asked["frame_num"];
  request.seed = asked["base_seed"];
  request.sample_solver = asked["sample_solver"];
  request.sample_steps = asked["sample_steps"];
  request.sample_shift = asked["sample_shift"];
  request.sample_guide_scale = GuidanceScale{asked["sample_guide_scale"][0], asked["sample_guide_scale"][1]};
  return request;
}

/// A case's name and a backend's.
class GenerationParity : public ::testing::TestWithParam<std::tuple<const char*, const char*>> {
 protected:
  GenerationParity()
      : case_(read_json_file(golden_path(std::string("pipeline/") + std::get<0>(GetParam()) + ".json"), 8)),
        golden_(golden_path(std::string("pipeline/") + std::get<0>(GetParam()) + ".safetensors")) {}

  GenerationRequest request() const {
    GenerationRequest request = request_of(case_);
    request.save_file = folder_ / "frame_%05d.png";
    request.dump_dir = folder_ / "dump";
    return request;
  }

  /// The checkpoint's folder, with a generation_config.json where the case has a boundary.
  std::filesystem::path checkpoint() {
    const std::filesystem::path official = golden_path("pipeline") / case_.value("checkpoint", "checkpoint");
    const std::filesystem::path folder = folder_ / "checkpoint";
    std::filesystem::copy(official, folder, std::filesystem::copy_options::recursive);
    if (!case_["boundary"].is_null())
      std::ofstream(folder / "generation_config.json") << nlohmann::json{{"boundary", case_["boundary"]}};
    return folder;
  }

  /// A second guidance pass that cannot matter is skipped: the only file that a dump may lack.
  bool may_be_missing(const std::string& name) const {
    static const std::regex uncond("step_([0-9]+)_uncond");
    std::smatch match;
    if (!std::regex_match(name, match, uncond)) return false;
    const bool high = case_["experts"][std::stoul(match[1])] == "high_noise_model";
    return case_["sample_guide_scale"][high ? 1 : 0] == 1.0;
  }

  nlohmann::json case_;
  GoldenFile golden_;
  TempFolder folder_;
};

TEST_P(GenerationParity, EveryDumpedTensorIsTheOfficialOne) {
  EngineOptions options;
  options.ckpt_dir = checkpoint();
  options.threads = 2;
  options.precision = "fp32";
  make_engine(options, make_generation_backend(std::get<1>(GetParam()))).generate(request());
  for (const std::string& name : golden_.names()) {
    const std::filesystem::path file = folder_ / "dump" / (name + ".npy");
    if (may_be_missing(name)) {
      EXPECT_FALSE(std::filesystem::exists(file)) << name;
      continue;
    }
    ASSERT_TRUE(std::filesystem::exists(file)) << name;
    EXPECT_TRUE(matches(name, read_npy(file), golden_.expected(name))) << name;
  }
  std::ptrdiff_t dumped = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder_ / "dump")) {
    const std::filesystem::path& path = entry.path();
    if (path.extension() != ".npy") continue;
    EXPECT_TRUE(golden_.has(path.stem().string())) << path;
    ++dumped;
  }
  EXPECT_GT(dumped, 0);
}

// On a device bf16 weights have bf16 activations beside them, on the CPU f32 ones.
TEST(GenerationInBf16, IsCloseToTheOfficialOneOnADevice) {
  const GoldenFile golden(golden_path("pipeline/ti2v_image.safetensors"));
  const TempFolder folder;
  EngineOptions options;
  options.ckpt_dir = golden_path("pipeline/checkpoint_ti2v");
  options.precision = "bf16";
  GenerationRequest request;
  request = request_of(read_json_file(golden_path("pipeline/ti2v_image.json"), 8));
  request.save_file = folder / "frame_%05d.png";
  request.dump_dir = folder / "dump";
  make_engine(options, make_device_backend()).generate(request);
  const Tensor first = read_npy(folder / "dump" / "step_00_cond.npy");
  const Tensor latents = read_npy(folder / "dump" / "latents.npy");
  EXPECT_TRUE(all_close(first, golden.expected("step_00_cond"), kBf16StepTolerance));
  EXPECT_TRUE(all_close(latents, golden.expected("latents"), kBf16LatentTolerance));
  EXPECT_FALSE(all_close(first, golden.expected("step_00_cond"), kStepTolerance)) << "bf16 was not used";
}

// The image enters through the encoder, the frames leave through the decoder.
TEST(GenerationWithTheVaeInBf16, IsCloseToTheOfficialOneOnADevice) {
  const GoldenFile golden(golden_path("pipeline/ti2v_image.safetensors"));
  const TempFolder folder;
  EngineOptions options;
  options.ckpt_dir = golden_path("pipeline/checkpoint_ti2v");
  options.precision = "fp32";
  options.vae_precision = "bf16";
  GenerationRequest request = request_of(read_json_file(golden_path("pipeline/ti2v_image.json"), 8));
  request.save_file = folder / "frame_%05d.png";
  request.dump_dir = folder / "dump";
  make_engine(options, make_device_backend()).generate(request);
  const Tensor condition = read_npy(folder / "dump" / "condition.npy");
  EXPECT_TRUE(all_close(condition, golden.expected("condition"), kBf16StepTolerance));
  EXPECT_FALSE(all_close(condition, golden.expected("condition"), kConditionTolerance))
      << "bf16 was not used";
  const Tensor frames = as_floats(read_npy(folder / "dump" / "frames.npy"));
  EXPECT_TRUE(all_close(frames, as_floats(golden.expected("frames")), kBf16FrameTolerance));
}

INSTANTIATE_TEST_SUITE_P(
    Cases, GenerationParity,
    ::testing::Combine(::testing::Values("unipc", "dpmpp", "still", "i2v_unipc", "i2v_dpmpp", "i2v_still",
                                         "ti2v_text", "ti2v_text_still", "ti2v_image", "ti2v_tall",
                                         "ti2v_image_still"),
                       ::testing::ValuesIn(generation_backends())),
    [](const auto& test) { return std::string(std::get<0>(test.param)) + "_" + std::get<1>(test.param); });

}  // namespace
}  // namespace wan::test
