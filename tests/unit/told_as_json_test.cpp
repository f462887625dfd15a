// What other programs read: events and plans as JSON.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "json/strict_json.h"
#include "wan/engine.h"
#include "wan/events.h"

namespace wan::test {
namespace {

TEST(Events, AreOneJsonObjectEach) {
  const auto json = parse_strict_json(to_json(PhaseProgress{.phase = Phase::kHighNoise,
                                                            .done = 2,
                                                            .total = 9,
                                                            .seconds = 1.5,
                                                            .step = 2,
                                                            .steps = 20,
                                                            .timestep = 979}),
                                      "event", 2);
  EXPECT_EQ(json.at("event"), "progress");
  EXPECT_EQ(json.at("phase"), "high_noise");
  EXPECT_EQ(json.at("step"), 2);
  EXPECT_EQ(json.at("seconds"), 1.5);
  const auto settings =
      parse_strict_json(to_json(RunSettings{{{"prompt", "a \"red\"\ncircle"}}}), "event", 2);
  EXPECT_EQ(settings.at("values").at("prompt"), "a \"red\"\ncircle");
  EXPECT_EQ(to_json(Notice{"one\ntwo"}).find('\n'), std::string::npos);
  EXPECT_NO_THROW(parse_strict_json(to_json(Notice{"\xff not UTF-8"}), "event", 2));
}

TEST(Plans, AreOneJsonObjectEach) {
  MemoryPlan plan{.ranks = 2, .layout_reason = "every step has two passes", .transport = "host"};
  plan.rank_memory = {{"cuda:0", 7, 9}, {"cuda:3", 5, 80'000'000'000}};
  const nlohmann::json json = parse_strict_json(to_json(plan), "plan", 4);
  EXPECT_EQ(json["event"], "plan");
  EXPECT_EQ(json["layout_reason"], "every step has two passes");
  EXPECT_EQ(json["transport"], "host");
  EXPECT_EQ(json["rank_memory"][1],
            (nlohmann::json{{"device", "cuda:3"}, {"peak", 5}, {"available", 80'000'000'000}}));
}

TEST(Plans, SayNothingOfRanksWhereThereIsOne) {
  const nlohmann::json json = parse_strict_json(to_json(MemoryPlan{.peak = 7}), "plan", 4);
  EXPECT_EQ(json["peak"], 7);
  EXPECT_FALSE(json.contains("layout_reason") || json.contains("transport") || json.contains("rank_memory"));
}

}  // namespace
}  // namespace wan::test
