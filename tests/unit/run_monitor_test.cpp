// What RunMonitor adds to events, with a device that is made up.

#include "engine/run_monitor.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "json/strict_json.h"

namespace wan::test {
namespace {

class RunMonitorTest : public testing::Test {
 protected:
  nlohmann::json tell(const Event& event) {
    monitor_(event);
    return parse_strict_json(to_json(told_.back()), "event", 4);
  }
  static PhaseProgress step(int number, double seconds) {
    return {.phase = Phase::kHighNoise,
            .done = number,
            .total = 4,
            .seconds = seconds,
            .step = number,
            .steps = 4};
  }

  std::vector<Event> told_;
  EventHandler next_ = [this](const Event& event) { told_.push_back(event); };
  std::int64_t flops_ = 0;
  std::vector<DeviceUse> uses_{{.name = "cuda:1", .used = 10, .peak = 20, .total = 100, .utilization = 0.75}};
  RankReaders read_{.devices = [this] { return uses_; }};
  RunMonitor monitor_{next_, flops_, read_};
};

TEST_F(RunMonitorTest, RatesAreOfTheStepAlone) {
  flops_ = 500;  // of the text encoder
  tell(PhaseStarted{Phase::kHighNoise, 4});
  flops_ += 1000;
  EXPECT_EQ(tell(step(1, 2.0))["flops_per_second"], 500.0);
  flops_ += 900;
  EXPECT_EQ(tell(step(2, 5.0))["flops_per_second"], 300.0);
  tell(PhaseFinished{Phase::kHighNoise, 5.0});
  tell(PhaseStarted{Phase::kLowNoise, 1});
  flops_ += 100;
  EXPECT_EQ(tell(step(3, 5.0))["flops_per_second"], 20.0);
  tell(PhaseFinished{Phase::kLowNoise, 5.0});
  const nlohmann::json end = tell(Finished{"video.mp4", 5, 11.0, 1, 2});
  EXPECT_EQ(end["flops_per_second"], 200.0);
  ASSERT_EQ(end["phases"].size(), 2u);
  EXPECT_EQ(end["phases"][1]["phase"], "low_noise");
  EXPECT_EQ(end["phases"][1]["seconds"], 5.0);
}

TEST_F(RunMonitorTest, DeviceIsReadAtEveryEvent) {
  EXPECT_EQ(tell(step(1, 1.0))["device_memory"],
            (nlohmann::json{{"used", 10}, {"peak", 20}, {"total", 100}}));
  uses_[0].used = 15;
  const nlohmann::json second = tell(step(2, 2.0));
  EXPECT_EQ(second["device_memory"]["used"], 15);
  EXPECT_EQ(second["device_utilization"], 0.75);
  EXPECT_FALSE(second.contains("devices")) << "there is one";
}

TEST_F(RunMonitorTest, SeveralDevicesAreToldAfterTheFirst) {
  uses_.push_back({.name = "cuda:3", .used = 11, .peak = 21, .total = 200});
  const nlohmann::json devices = {
      {{"name", "cuda:1"}, {"used", 10}, {"peak", 20}, {"total", 100}, {"utilization", 0.75}},
      {{"name", "cuda:3"}, {"used", 11}, {"peak", 21}, {"total", 200}}};
  const nlohmann::json told = tell(step(1, 1.0));
  EXPECT_EQ(told["devices"], devices);
  EXPECT_EQ(told["device_memory"]["used"], 10);
  EXPECT_EQ(tell(Finished{"video.mp4", 5, 11.0, 1, 20})["devices"], devices);
}

TEST_F(RunMonitorTest, WaitsAreOfTheStepAlone) {
  std::vector<double> waited{8.0, 0.0};  // while prompts were encoded
  read_.waited = [&] { return waited; };
  tell(PhaseStarted{Phase::kHighNoise, 4});
  waited = {8.5, 2.0};
  const nlohmann::json first = tell(step(1, 3.0));
  EXPECT_EQ(first["waited"], 0.5);
  EXPECT_EQ(first["waited_longest"], 2.0);
  waited = {9.5, 2.5};
  const nlohmann::json second = tell(step(2, 6.0));
  EXPECT_EQ(second["waited"], 1.0);
  EXPECT_EQ(second["waited_longest"], 1.0);
}

TEST_F(RunMonitorTest, WhatIsUnknownIsLeftOut) {
  uses_[0].utilization = std::nullopt;
  EXPECT_FALSE(tell(step(1, 1.0)).contains("device_utilization"));
  EXPECT_FALSE(tell(step(2, 2.0)).contains("waited")) << "there is one rank";
  read_.devices = nullptr;
  EXPECT_FALSE(tell(step(3, 3.0)).contains("device_memory"));
}

}  // namespace
}  // namespace wan::test
