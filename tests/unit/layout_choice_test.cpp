// Which layouts of ranks the options leave.

#include "engine/layout_choice.h"

#include <gtest/gtest.h>

#include "backends/cpu/cpu_backend.h"
#include "engine/layout_times.h"
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

// Half of the steps have two passes: halves run these at once and the others twice.
TEST(LayoutChoice, LinksDecideWhereSomeStepsHaveTwoPasses) {
  const PassDemand work{.flops = 1e15, .bytes = 1e10};
  const EngineOptions options = asking("auto", 0, {0, 1});
  const auto chosen = [&](const RankRates& rates, int guided) {
    return possible_layouts(options, 2, 40, guided, kOfSteps, [&](const RankLayout& layout) {
      return step_times(work, rates, layout, guided, kOfSteps).all();
    });
  };
  const RankRates fast{.flops_per_second = 1e14, .link_bytes_per_second = 2e11};
  const RankRates slow{.flops_per_second = 1e14, .link_bytes_per_second = 1e9};
  EXPECT_EQ(chosen(fast, kOfSteps / 2), (Layouts{{2, 1}}));
  EXPECT_EQ(chosen(slow, kOfSteps / 2), (Layouts{{1, 2}, {2, 1}}));
  EXPECT_EQ(chosen(fast, kOfSteps), (Layouts{{1, 2}, {2, 1}}));
  EXPECT_EQ(chosen(slow, 0), (Layouts{{2, 1}}));
  EXPECT_EQ(layout_reason(options, {1, 2}, kOfSteps / 2, kOfSteps), "faster by the links as measured");
  EXPECT_FALSE(depends_on_times(options, 2, kOfSteps, kOfSteps));
  EXPECT_FALSE(depends_on_times(asking("off", 0, {0, 1}), 2, 1, kOfSteps));
}

/// 1280x720x81 of A14B, on two ranks: the numbers of docs/multi-gpu.md.
TEST(LayoutChoice, TimesOfAStepAreThoseOfItsWork) {
  WanConfig config{};
  config.dim = 5120;
  config.ffn_dim = 13824;
  config.num_layers = 40;
  config.patch = {1, 2, 2};
  const PassDemand work = pass_demand(config, {16, 21, 90, 160}, DType::kBF16);
  EXPECT_NEAR(work.flops, 6.5e15, 0.1e15);
  const RankRates rates{.flops_per_second = 1e14, .link_bytes_per_second = 22e9};
  const StepTimes one = step_times(work, rates, {2, 1}, kOfSteps, kOfSteps);
  EXPECT_NEAR(one.exchanging * rates.link_bytes_per_second, 2 * 31.0e9, 1e9);
  EXPECT_NEAR(one.computing, 65, 1);
  EXPECT_EQ(step_times(work, rates, {1, 2}, kOfSteps, kOfSteps).exchanging, 0);
}

TEST(LayoutChoice, RatesOfRanksAreMeasured) {
  std::vector<std::unique_ptr<Backend>> ranks;
  std::vector<Backend*> backends;
  for (int rank = 0; rank < 2; ++rank) {
    ranks.push_back(make_cpu_backend({.threads = 1}));
    backends.push_back(ranks.back().get());
  }
  const RankRates rates = measure_rates(backends, DType::kF32, {});
  EXPECT_GT(rates.flops_per_second, 1e8);
  EXPECT_GT(rates.link_bytes_per_second, 1e7);
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
