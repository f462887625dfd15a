#include "diffusion/guidance.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"

namespace wan {
namespace {

TEST(GuidanceTest, TheHighNoiseExpertRunsFromTheBoundaryUp) {
  const Guidance t2v({3.0, 4.0}, 0.875);
  EXPECT_EQ(t2v.expert(1000), Expert::kHighNoise);
  EXPECT_EQ(t2v.expert(875), Expert::kHighNoise);
  EXPECT_EQ(t2v.expert(874), Expert::kLowNoise);
  EXPECT_EQ(t2v.expert(0), Expert::kLowNoise);
  EXPECT_EQ(t2v.scale(875), 4.0);
  EXPECT_EQ(t2v.scale(874), 3.0);
  const Guidance i2v({3.5, 3.5}, 0.9);
  EXPECT_EQ(i2v.expert(900), Expert::kHighNoise);
  EXPECT_EQ(i2v.expert(899), Expert::kLowNoise);
  EXPECT_STREQ(expert_name(Expert::kHighNoise), "high_noise");
  EXPECT_STREQ(expert_name(Expert::kLowNoise), "low_noise");
}

TEST(GuidanceTest, WithoutABoundaryOneExpertAndItsScaleServeAllTimesteps) {
  const Guidance guidance({5.0, 7.0}, std::nullopt);
  EXPECT_EQ(guidance.expert(1000), Expert::kLowNoise);
  EXPECT_EQ(guidance.scale(1000), 5.0);
}

TEST(GuidanceTest, TheSecondPassIsSkippedAtScaleOneOnly) {
  const Guidance guidance({1.0, 4.0}, 0.875);
  EXPECT_FALSE(guidance.needs_unconditional(500));
  EXPECT_TRUE(guidance.needs_unconditional(900));
  EXPECT_TRUE(Guidance({0.0, 0.0}, 0.875).needs_unconditional(900));
  EXPECT_EQ(guidance.coefficients(500).conditional, 1.0);
  EXPECT_EQ(guidance.coefficients(500).unconditional, 0.0);
}

TEST(GuidanceTest, CoefficientsAreThoseOfTheGuidedFormula) {
  const Guidance guidance({3.0, 4.0}, 0.875);
  const double conditional = 0.75;
  const double unconditional = -0.5;
  for (const double timestep : {999.0, 100.0}) {
    const auto [c, u] = guidance.coefficients(timestep);
    const double scale = timestep == 999 ? 4.0 : 3.0;
    EXPECT_DOUBLE_EQ(c * conditional + u * unconditional,
                     unconditional + scale * (conditional - unconditional));
  }
}

TEST(GuidanceTest, ParsesOneOrTwoNumbers) {
  EXPECT_EQ(parse_guidance_scale("5").low_noise, 5.0);
  EXPECT_EQ(parse_guidance_scale("5").high_noise, 5.0);
  const GuidanceScale two = parse_guidance_scale("3.0,4.5");
  EXPECT_EQ(two.low_noise, 3.0);
  EXPECT_EQ(two.high_noise, 4.5);
  EXPECT_EQ(format_guidance_scale(two), "3,4.5");
  EXPECT_EQ(format_guidance_scale({5.0, 5.0}), "5");
  for (const char* text :
       {"", ",", "3,", ",3", "3,4,5", "3 4", "3, 4", "three", "nan", "inf", "1e999", "5x"}) {
    EXPECT_THROW(parse_guidance_scale(text), Error) << text;
  }
}

TEST(GuidanceTest, RefusesValuesOutOfRange) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const double boundary : {0.0, -0.5, 1.01, 875.0, nan}) {
    EXPECT_THROW(Guidance({3.0, 4.0}, boundary), Error) << boundary;
  }
  EXPECT_THROW(Guidance({nan, 4.0}, 0.875), Error);
  EXPECT_THROW(Guidance({3.0, std::numeric_limits<double>::infinity()}, 0.875), Error);
}

}  // namespace
}  // namespace wan
