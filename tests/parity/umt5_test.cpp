// The umT5 text encoder against the official one, layer by layer. The official one runs on 512 padded and
// masked tokens, this one on the prompt's own.

#include <gtest/gtest.h>

#include "models/umt5/umt5_encoder.h"
#include "support/backends.h"
#include "support/compare.h"
#include "support/tap_recorder.h"

namespace wan::test::umt5_test {
namespace {

// f32 on both sides; sums of up to 512 terms in another order through up to three layers.
constexpr double kTolerance = 2e-5;

struct Case {
  const char* model;  // folder of tests/golden/models
  const char* file;   // one prompt
  TapCoverage coverage;
};

constexpr Case kCases[] = {
    {"umt5_h4_d8", "n1", TapCoverage::kEveryLayer},  {"umt5_h4_d8", "n7", TapCoverage::kEveryLayer},
    {"umt5_h4_d8", "n40", TapCoverage::kEveryLayer}, {"umt5_h4_d8", "n200", TapCoverage::kSomeLayers},
    {"umt5_h3_d12", "n9", TapCoverage::kEveryLayer}, {"umt5_h3_d12", "n512", TapCoverage::kSomeLayers},
};

class Umt5Parity : public ::testing::TestWithParam<std::tuple<Case, Kernels>> {};

TEST_P(Umt5Parity, EveryLayerIsTheOfficialOne) {
  const auto& [test, kernels] = GetParam();
  const std::filesystem::path folder = golden_path(std::string("models/") + test.model);
  const GoldenFile golden(folder / (std::string(test.file) + ".safetensors"));
  WeightReport report(Checkpoint::open(folder / "encoder.pth"), "text encoder");
  const WeightScope scope(report, {});
  const Umt5Config config = umt5_config(scope);
  const auto residency =
      make_residency({{scope, umt5_block_layout(config), static_cast<int>(config.num_layers)}}, {});
  const Umt5Encoder encoder(config, scope, *residency, 0, "text_encoder.");
  report.check();

  const auto backend = make_backend(kernels);
  Workspace workspace(backend->allocator());
  SelfCommunicator alone;
  TapRecorder taps;
  ExecContext context{
      .backend = *backend, .workspace = workspace, .communicator = alone, .taps = taps.listener()};
  const std::vector<std::int64_t> ids = golden.integers("ids");
  const Tensor output(DType::kF32, {static_cast<std::int64_t>(ids.size()), config.dim});
  encoder.encode(context, ids, output);

  EXPECT_TRUE(all_close(output, golden.expected("output"), kTolerance));
  if (!golden.names("tap.").empty()) {
    EXPECT_TRUE(taps_match(taps, golden, {"text_encoder.", test.coverage, kTolerance}));
  }
}

std::string case_name(const ::testing::TestParamInfo<std::tuple<Case, Kernels>>& instance) {
  const auto& [test, kernels] = instance.param;
  return std::string(test.model) + "_" + test.file + "_" + kernels_name(kernels);
}

INSTANTIATE_TEST_SUITE_P(Models, Umt5Parity,
                         ::testing::Combine(::testing::ValuesIn(kCases), ::testing::ValuesIn(all_kernels())),
                         case_name);

}  // namespace
}  // namespace wan::test::umt5_test
