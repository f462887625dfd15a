// Which layouts of ranks the options leave.

#include "engine/layout_choice.h"

#include <gtest/gtest.h>

#include "support/expect_error.h"

namespace wan::test {
namespace {

using Layouts = std::vector<RankLayout>;

constexpr int kOfSteps = 40;

EngineOptions asking(const std::string& guidance, int ulysses_size, std::vector<int> gpus = {}) {
  return {
      .ckpt_dir = {}, .gpus = std::move(gpus), .ulysses_size = ulysses_size, .guidance_parallel = guidance};
}

Layouts layouts(const EngineOptions& options, int guided = kOfSteps, std::int64_t heads = 40) {
  return possible_layouts(options, rank_count(options), heads, guided, kOfSteps);
}

TEST(LayoutChoice, HalvesComeFirstWhereEveryStepHasTwoPasses) {
  EXPECT_EQ(layouts(asking("auto", 0, {0, 1})), (Layouts{{1, 2}, {2, 1}}));
  EXPECT_EQ(layouts(asking("auto", 0, {0, 1, 2, 3})), (Layouts{{2, 2}, {4, 1}}));
  EXPECT_EQ(layouts(asking("auto", 0, {0, 1, 2})), (Layouts{{3, 1}}));
  EXPECT_EQ(layouts(asking("auto", 0, {0, 1}), kOfSteps - 1), (Layouts{{2, 1}}));
  EXPECT_EQ(layouts(asking("auto", 0, {0, 1}), 0), (Layouts{{2, 1}}));
  EXPECT_EQ(layouts(asking("auto", 0)), (Layouts{{1, 1}}));
}

TEST(LayoutChoice, WhatIsAskedForIsDone) {
  EXPECT_EQ(layouts(asking("off", 0, {0, 1})), (Layouts{{2, 1}}));
  EXPECT_EQ(layouts(asking("on", 0, {0, 1}), 1), (Layouts{{1, 2}}));
  EXPECT_EQ(layouts(asking("on", 0)), (Layouts{{1, 2}}));
  EXPECT_EQ(layouts(asking("on", 2)), (Layouts{{2, 2}}));
  // The official meaning: all ranks divide the tokens.
  EXPECT_EQ(layouts(asking("auto", 2)), (Layouts{{2, 1}}));
  EXPECT_EQ(layouts(asking("auto", 2, {0, 1})), (Layouts{{2, 1}}));
  EXPECT_EQ(layouts(asking("auto", 2, {0, 1, 2, 3}), 1), (Layouts{{2, 2}}));
}

TEST(LayoutChoice, SaysWhy) {
  const auto why = [](const std::string& guidance, int ulysses_size, const RankLayout& chosen,
                      int guided = kOfSteps) {
    return layout_reason(asking(guidance, ulysses_size), chosen, guided, kOfSteps);
  };
  EXPECT_EQ(why("auto", 0, {1, 1}), "");
  EXPECT_EQ(why("on", 0, {1, 2}), "asked for");
  EXPECT_EQ(why("off", 0, {2, 1}), "asked for");
  EXPECT_EQ(why("auto", 2, {2, 1}), "asked for");
  EXPECT_EQ(why("auto", 0, {2, 2}), "every step has two passes");
  EXPECT_EQ(why("auto", 0, {2, 1}, 0), "no step has two passes");
  EXPECT_EQ(why("auto", 0, {2, 1}, 1), "not every step has two passes");
  EXPECT_EQ(why("auto", 0, {3, 1}), "an odd number has no halves");
  EXPECT_EQ(why("auto", 0, {2, 1}), "in halves the video would not fit as a whole");
}

TEST(LayoutChoice, GroupsOnSeveralMachinesAreSeenWhereTheyHaveAsManyRanksOnEach) {
  using Members = std::vector<std::vector<int>>;
  const auto machines = [](const RankLayout& layout, const std::vector<int>& of) {
    return on_machines(layout, of).machines;
  };
  EXPECT_EQ(machines({4, 1}, {0, 0, 0, 0}), 1);
  EXPECT_EQ(machines({4, 1}, {0, 0, 2, 2}), 2);
  EXPECT_EQ(machines({4, 1}, {0, 1, 0, 1}), 2);
  EXPECT_EQ(machines({3, 1}, {0, 1, 2}), 3);
  EXPECT_EQ(machines({4, 1}, {0, 0, 0, 1}), 1);
  EXPECT_EQ(machines({2, 2}, {0, 0, 1, 1}), 1) << "each half has its machine";
  EXPECT_EQ(machines({2, 2}, {0, 1, 0, 1}), 2);
  EXPECT_EQ(machines({2, 2}, {0, 1, 2, 2}), 1) << "one half is on one";
  EXPECT_EQ(machines({1, 2}, {0, 1}), 1);
  EXPECT_EQ(machine_ranks({4, 1}, 0, std::vector{0, 1, 0, 1}), (Members{{0, 2}, {1, 3}}));
  EXPECT_EQ(machine_ranks({4, 2}, 1, std::vector{0, 0, 0, 0, 4, 4, 6, 6}), (Members{{0, 1}, {2, 3}}));
  EXPECT_EQ(machine_ranks({2, 1}, 0, std::vector{3, 3}), Members());
  EXPECT_EQ(layout_reason(asking("auto", 4), {4, 1, 2}, kOfSteps, kOfSteps),
            "asked for; keys and values go round 2 machines");
}

TEST(LayoutChoice, HeadsLimitWhoDividesAPassAlone) {
  EXPECT_EQ(layouts(asking("auto", 0, {0, 1, 2, 3, 4, 5}), kOfSteps, 4), (Layouts{{3, 2}}));
  expect_error(ErrorCode::kInvalidArgument, "at most 4", [] {
    layouts(asking("off", 0, {0, 1, 2, 3, 4, 5}), kOfSteps, 4);
  });
}

TEST(LayoutChoice, ContradictionsSayWhatCanBe) {
  expect_error(ErrorCode::kInvalidArgument, "even number", [] { rank_count(asking("on", 0, {0, 1, 2})); });
  expect_error(ErrorCode::kInvalidArgument, "as many ranks as GPUs", [] {
    rank_count(asking("off", 1, {0, 1}));
  });
  expect_error(ErrorCode::kInvalidArgument, "set it off", [] { layouts(asking("on", 0), 0); });
  expect_error(ErrorCode::kInvalidArgument, "leave `ulysses_size` out", [] {
    layouts(asking("auto", 1, {0, 1}), 0);
  });
}

}  // namespace
}  // namespace wan::test
