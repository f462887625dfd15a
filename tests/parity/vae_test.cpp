// VAE 2.1 and 2.2 against the official ones, layer by layer.

#include <gtest/gtest.h>

#include "support/compare.h"
#include "support/tap_recorder.h"
#include "support/vae_model.h"

namespace wan::test::vae_test {
namespace {

// f32 on both sides; sums of up to 500 terms in another order through about 30 layers, each adding some 1e-7. The
// largest difference seen is below 2e-6; a wrong tap of a kernel or a lost frame shows at 1e-2 and above.
constexpr double kTolerance = 2e-5;
// Frames: the same, and no single value far off (values are about 0.5).
constexpr double kFrameRms = 1e-5;
constexpr double kFrameMax = 3e-5;

/// A case of tools/golden/make_vae21.py or make_vae22.py, and what to run it on.
using Case = std::tuple<const char*, Kernels>;

/// Every "SIDE.GROUP.MODULE" of the file against call number GROUP of "vae.MODULE", and no tap that the file lacks.
void expect_taps(const TapRecorder& taps, const GoldenFile& golden, const std::string& side) {
  const std::vector<std::string> names = golden.names(side + ".");
  EXPECT_FALSE(names.empty());
  for (const std::string& name : names) {
    const std::size_t dot = name.find('.');
    const auto group = static_cast<std::size_t>(std::stoul(name.substr(0, dot)));
    const auto calls = taps.calls().find("vae." + name.substr(dot + 1));
    ASSERT_TRUE(calls != taps.calls().end() && group < calls->second.size()) << name;
    EXPECT_TRUE(all_close(calls->second[group], golden.expected(side + "." + name), kTolerance)) << name;
  }
  for (const auto& [name, calls] : taps.calls())
    EXPECT_TRUE(golden.has(side + ".0" + name.substr(name.find('.')))) << name;
}

class VaeParity : public ::testing::TestWithParam<Case> {};

TEST_P(VaeParity, DecoderIsTheOfficialOne) {
  const GoldenFile golden = vae_golden(std::get<0>(GetParam()));
  VaeModel model(std::get<0>(GetParam()), std::get<1>(GetParam()));
  TapRecorder taps;
  model.context().taps = taps.listener();
  const Tensor latents = golden.tensor("latents");
  const Tensor frames = model.decode(latents, model.plan_decode(latents));
  EXPECT_TRUE(all_close(frames, golden.tensor("frames"), kFrameRms, kFrameMax));
  if (!golden.names("decode.").empty()) expect_taps(taps, golden, "decode");
}

TEST_P(VaeParity, EncoderIsTheOfficialOne) {
  const GoldenFile golden = vae_golden(std::get<0>(GetParam()));
  VaeModel model(std::get<0>(GetParam()), std::get<1>(GetParam()));
  TapRecorder taps;
  model.context().taps = taps.listener();
  const Tensor expected = golden.tensor("encoded");
  const VaePlan plan = model.plan_encode(expected);
  const std::int64_t frames = model.vae().geometry().frames(expected.dim(1));
  EXPECT_TRUE(all_close(model.encode(golden.tensor("frames"), frames, plan), expected, kTolerance));
  if (!golden.names("encode.").empty()) expect_taps(taps, golden, "encode");
}

// Layers are shown frame by frame then, which the golden files' groups are not.
TEST_P(VaeParity, EveryPlanIsTheOfficialOne) {
  const GoldenFile golden = vae_golden(std::get<0>(GetParam()));
  VaeModel model(std::get<0>(GetParam()), std::get<1>(GetParam()));
  const Tensor latents = golden.tensor("latents");
  std::vector<VaePlan> plans = model.decode_plans(latents);
  // Composites are slow: of the plans between the largest and the smallest they run none.
  if (std::get<1>(GetParam()) == Kernels::kPlain && plans.size() > 2)
    plans.erase(plans.begin() + 1, plans.end() - 1);
  for (const VaePlan& plan : plans)
    EXPECT_TRUE(all_close(model.decode(latents, plan), golden.tensor("frames"), kFrameRms, kFrameMax));
  const Tensor encoded = golden.tensor("encoded");
  const std::int64_t frames = model.vae().geometry().frames(encoded.dim(1));
  for (const VaePlan& plan : model.encode_plans(encoded))
    EXPECT_TRUE(all_close(model.encode(golden.tensor("frames"), frames, plan), encoded, kTolerance));
}

std::string case_name(const ::testing::TestParamInfo<Case>& instance) {
  std::string name = std::get<0>(instance.param);
  std::replace(name.begin(), name.end(), '/', '_');
  return name + "_" + kernels_name(std::get<1>(instance.param));
}

INSTANTIATE_TEST_SUITE_P(
    Models, VaeParity,
    ::testing::Combine(::testing::Values("vae21/levels4", "vae21/levels3", "vae21/levels2", "vae22/levels4",
                                         "vae22/levels3", "vae22/levels2", "vae22/levels4_early"),
                       ::testing::ValuesIn(all_kernels())),
    case_name);

}  // namespace
}  // namespace wan::test::vae_test
