#pragma once
// What the tests share that hold whole generations of clips against the official pipelines' (tools/golden, ClipRecording).

#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <tuple>

#include "engine/engine_internals.h"
#include "json/strict_json.h"
#include "media/npy.h"
#include "support/compare.h"
#include "support/generation_backends.h"
#include "support/golden.h"
#include "support/temp_folder.h"
#include "wan/engine.h"

namespace wan::test {

/// Values of f32 or bytes, as f32.
inline Tensor floats_of(const TensorView& values) {
  Tensor floats(DType::kF32, values.shape());
  for (std::int64_t i = 0; i < values.elements(); ++i)
    floats.as<float>()[i] = values.dtype() == DType::kU8 ? static_cast<float>(values.as<std::uint8_t>()[i])
                                                         : values.as<float>()[i];
  return floats;
}

/// A case's name, CASE.json and CASE.safetensors in a folder of golden files, and a backend's.
class ClipGeneration : public ::testing::TestWithParam<std::tuple<const char*, const char*>> {
 protected:
  explicit ClipGeneration(std::filesystem::path folder)
      : goldens_(std::move(folder)),
        case_(read_json_file(golden(std::get<0>(GetParam()), ".json"), 8)),
        golden_(golden(std::get<0>(GetParam()), ".safetensors")) {}

  std::filesystem::path golden(const std::string& name, const char* extension = "") const {
    return goldens_ / (name + extension);
  }

  /// Without what belongs to one task.
  GenerationRequest request() const {
    GenerationRequest request;
    request.task = case_["task"];
    request.rng = "torch-cpu";
    request.prompt = case_["prompt"];
    request.negative_prompt = case_["negative_prompt"];
    request.seed = case_["base_seed"];
    request.sample_solver = case_["sample_solver"];
    request.sample_steps = case_["sample_steps"];
    request.sample_shift = case_["sample_shift"];
    const double scale = case_["sample_guide_scale"];
    request.sample_guide_scale = GuidanceScale{scale, scale};
    request.save_file = folder_ / "frame_%05d.png";
    request.dump_dir = dump();
    return request;
  }

  void generate(const GenerationRequest& request, EngineOptions options = {}) const {
    options.ckpt_dir = golden("checkpoint");
    options.threads = 2;
    options.precision = "fp32";
    make_engine(options, make_generation_backend(std::get<1>(GetParam()))).generate(request);
  }

  std::filesystem::path dump() const { return folder_ / "dump"; }

  /// A dumped array, as f32; empty where there is none.
  Tensor dumped(const std::string& name) const {
    const std::filesystem::path path = dump() / (name + ".npy");
    if (!std::filesystem::exists(path)) return {};
    const NpyFile file(path);
    const NpyView& view = file.view();
    Tensor values(view.type == NpyType::kF32 ? DType::kF32 : DType::kU8,
                  Shape(std::span<const std::int64_t>(view.shape)));
    std::memcpy(values.view().data(), view.data.data(), view.data.size());
    return floats_of(values);
  }

  /// What the golden file has kept of an array, as f32.
  Expected expected(const std::string& name) const {
    const Expected kept = golden_.expected(name);
    return {floats_of(kept.kept), kept.whole, kept.step};
  }

  std::filesystem::path goldens_;
  nlohmann::json case_;
  GoldenFile golden_;
  TempFolder folder_;
};

inline std::string case_and_backend(
    const ::testing::TestParamInfo<std::tuple<const char*, const char*>>& test) {
  return std::string(std::get<0>(test.param)) + "_" + std::get<1>(test.param);
}

}  // namespace wan::test
