// The comparators of golden files must be able to fail.

#include <gtest/gtest.h>

#include <limits>

#include "support/golden.h"
#include "support/tap_recorder.h"

namespace wan::test {
namespace {

constexpr double kTolerance = 1e-6;

class TapsMatch : public ::testing::Test {
 protected:
  void show(const std::string& name, const TensorView& value) {
    recorder_.listener()("model." + name, value);
  }
  void show_all_but(const std::string& left_out) {
    for (const std::string& name : golden_.names("tap."))
      if (name != left_out) show(name, golden_.tensor("tap." + name));
  }
  ::testing::AssertionResult match(TapCoverage coverage = TapCoverage::kEveryLayer) const {
    return taps_match(recorder_, golden_, {"model.", coverage, kTolerance});
  }

  GoldenFile golden_{golden_path("models/dit_h2_d24/f1.safetensors")};
  TapRecorder recorder_;
};

TEST_F(TapsMatch, PassesEqualTaps) {
  show_all_but("");
  EXPECT_TRUE(match());
  EXPECT_EQ(recorder_.calls().size(), golden_.names("tap.").size());
}

TEST_F(TapsMatch, NamesAMissingTap) {
  show_all_but("blocks.1.ffn");
  const auto result = match();
  EXPECT_FALSE(result);
  EXPECT_NE(std::string(result.message()).find("blocks.1.ffn: never shown"), std::string::npos);
}

TEST_F(TapsMatch, NamesAnExtraTapUnlessOnlySomeLayersAreKept) {
  show_all_but("");
  show("blocks.9", golden_.tensor("tap.blocks.1"));
  EXPECT_FALSE(match());
  EXPECT_TRUE(match(TapCoverage::kSomeLayers));
}

TEST_F(TapsMatch, NamesATapShownTwice) {
  show_all_but("");
  show("head", golden_.tensor("tap.head"));
  EXPECT_FALSE(match());
}

TEST_F(TapsMatch, NamesADifferentValueOrShape) {
  show_all_but("blocks.0");
  const Tensor value = golden_.tensor("tap.blocks.0");
  value.as<float>()[3] += 0.01f;
  show("blocks.0", value);
  const auto result = match();
  EXPECT_FALSE(result);
  EXPECT_NE(std::string(result.message()).find("blocks.0: "), std::string::npos);

  recorder_.clear();
  show_all_but("blocks.0");
  show("blocks.0", golden_.tensor("tap.blocks.0").view().slice(0, 0, 3));
  EXPECT_FALSE(match());
}

TEST_F(TapsMatch, ExpectsThePrefix) {
  show_all_but("");
  EXPECT_FALSE(taps_match(recorder_, golden_, {"other.", TapCoverage::kSomeLayers, kTolerance}));
}

/// An array of 9 x 24 values of which a file keeps every fifth.
Expected every_fifth(const Tensor& whole) {
  Tensor kept(DType::kF32, {44});
  for (std::int64_t i = 0; i < kept.elements(); ++i) kept.as<float>()[i] = whole.as<float>()[5 * i];
  return {std::move(kept), whole.shape(), 5};
}

Tensor counted() {
  Tensor whole(DType::kF32, {9, 24});
  for (std::int64_t i = 0; i < whole.elements(); ++i) whole.as<float>()[i] = static_cast<float>(1 + i % 7);
  return whole;
}

TEST(GoldenFile, APartTellsAWrongRowAndAWrongColumn) {
  const Expected expected = every_fifth(counted());
  EXPECT_TRUE(all_close(counted(), expected, kTolerance));
  for (std::int64_t row = 0; row < 9; ++row) {
    const Tensor wrong = counted();
    for (std::int64_t i = 0; i < 24; ++i) wrong.as<float>()[row * 24 + i] *= 1.01f;
    EXPECT_FALSE(all_close(wrong, expected, kTolerance)) << row;
  }
  for (std::int64_t column = 0; column < 24; ++column) {
    const Tensor wrong = counted();
    for (std::int64_t i = 0; i < 9; ++i) wrong.as<float>()[i * 24 + column] *= 1.01f;
    EXPECT_FALSE(all_close(wrong, expected, kTolerance)) << column;
  }
}

TEST(GoldenFile, APartRefusesAnotherShapeAndNumbersThatAreNone) {
  const Expected expected = every_fifth(counted());
  EXPECT_FALSE(all_close(counted().view().reshape({24, 9}), expected, kTolerance));
  EXPECT_FALSE(all_close(expected.kept, expected, kTolerance));
  const Tensor wrong = counted();
  wrong.as<float>()[1] = std::numeric_limits<float>::quiet_NaN();  // not one of those that are kept
  EXPECT_FALSE(all_close(wrong, expected, kTolerance));
}

TEST(GoldenFile, KeepsAPartOfLargeArraysAndDoesNotPassItOffAsTheWhole) {
  const GoldenFile golden(golden_path("models/dit_h2_d24/f9.safetensors"));
  const Expected expected = golden.expected("output");
  EXPECT_EQ(expected.whole, golden.tensor("latent").shape());
  EXPECT_GT(expected.step, 1);
  EXPECT_EQ(expected.kept.elements(), (expected.whole.elements() + expected.step - 1) / expected.step);
  EXPECT_THROW(golden.tensor("output"), Error);
}

TEST(GoldenFile, ReadsIntegersAndRefusesUnknownNames) {
  const GoldenFile golden(golden_path("models/dit_h2_d24/f1.safetensors"));
  EXPECT_EQ(golden.integers("timestep"), std::vector<std::int64_t>{999});
  EXPECT_THROW(golden.tensor("no such array"), Error);
}

}  // namespace
}  // namespace wan::test
