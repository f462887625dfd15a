// Presets: each row of the table as it was published, and what is set by hand above it.

#include "tasks/presets.h"

#include <gtest/gtest.h>

#include <vector>

#include "support/expect_error.h"

namespace wan::test {
namespace {

struct Published {
  std::string preset, task, solver;
  double shift;
  std::vector<double> timesteps;  // empty: the solver's own
  std::size_t steps;
  std::optional<double> boundary = {};
};

const std::vector<Published> kPublished = {
    {"lightning-4", "t2v-A14B", "euler", 5, {1000, 937.5, 833.33, 625}, 4},
    {"lightning-4", "i2v-A14B", "euler", 5, {1000, 937.5, 833.33, 625}, 4},
    {"lightning-4", "animate-14B", "unipc", 5, {}, 4},
    {"lightning-8", "t2v-A14B", "euler", 5, {1000, 972.22, 937.5, 892.86, 833.33, 750, 625, 416.67}, 8},
    {"lightning-8", "i2v-A14B", "euler", 5, {1000, 972.22, 937.5, 892.86, 833.33, 750, 625, 416.67}, 8},
    {"lightning-flf2v-4", "i2v-A14B", "euler", 16, {1000, 979.59, 941.18, 842.11}, 4, 0.96},
    {"wangp-4", "t2v-A14B", "unipc", 3, {}, 4, 0.876},
    {"wangp-4", "i2v-A14B", "unipc", 5, {}, 4, 0.876},
    {"fastwan-3", "ti2v-5B", "euler", 5, {1000, 757, 522}, 3},
    {"turbo-4", "ti2v-5B", "euler", 1, {1000, 750, 500, 250}, 4}};

GenerationRequest request_of(const Published& row) {
  GenerationRequest request;
  request.task = row.task;
  request.preset = row.preset;
  return request;
}

TEST(Presets, AreWhatWasPublished) {
  for (const Published& row : kPublished) {
    SCOPED_TRACE(row.preset + " of " + row.task);
    const GenerationRequest made = with_preset(request_of(row));
    EXPECT_EQ(made.sample_solver, row.solver);
    EXPECT_EQ(made.sample_steps, static_cast<int>(row.steps));
    EXPECT_EQ(made.sample_shift, row.shift);
    EXPECT_EQ(made.sample_guide_scale->low_noise, 1);
    EXPECT_EQ(made.sample_guide_scale->high_noise, 1);
    EXPECT_EQ(preset_boundary(made), row.boundary);
    const std::vector<double> timesteps = made.sample_timesteps.value_or(std::vector<double>());
    ASSERT_EQ(timesteps.size(), row.timesteps.size());
    for (std::size_t i = 0; i < timesteps.size(); ++i) EXPECT_NEAR(timesteps[i], row.timesteps[i], 0.005);
    EXPECT_TRUE(preset_for(row.task, static_cast<int>(row.steps)).has_value());
  }
}

TEST(Presets, StandBelowWhatIsSetByHand) {
  for (const Published& row : kPublished) {
    SCOPED_TRACE(row.preset + " of " + row.task);
    GenerationRequest request = request_of(row);
    request.sample_solver = "dpm++";
    request.sample_guide_scale = GuidanceScale{3, 4};
    GenerationRequest made = with_preset(request);
    EXPECT_EQ(made.sample_solver, "dpm++");
    EXPECT_EQ(made.sample_guide_scale->high_noise, 4);
    EXPECT_EQ(made.sample_timesteps.value_or(std::vector<double>()).size(), row.timesteps.size());
    request = request_of(row);
    request.sample_steps = 2;
    request.sample_shift = 3;
    made = with_preset(request);
    EXPECT_EQ(made.sample_steps, 2);
    EXPECT_EQ(made.sample_shift, 3);
    if (row.timesteps.empty())
      EXPECT_FALSE(made.sample_timesteps.has_value());
    else
      EXPECT_EQ(made.sample_timesteps, (std::vector<double>{1000, 750}));
    request = request_of(row);
    request.sample_timesteps = {900.0, 800.0, 100.0};
    made = with_preset(request);
    EXPECT_EQ(made.sample_timesteps, request.sample_timesteps);
    EXPECT_EQ(made.sample_steps, 3);
  }
}

TEST(Presets, AreOfTheirTasks) {
  GenerationRequest request;
  request.task = "s2v-14B";
  for (const Published& row : kPublished) {
    request.preset = row.preset;
    expect_error(ErrorCode::kInvalidArgument, "by hand", [&] { (void)with_preset(request); });
  }
  EXPECT_FALSE(preset_for("s2v-14B", 4).has_value());
  EXPECT_EQ(preset_for("i2v-A14B", 4), "lightning-4");
}

}  // namespace
}  // namespace wan::test
