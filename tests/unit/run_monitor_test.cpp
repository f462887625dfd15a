// What RunMonitor adds to events, with a device that is made up.

#include "engine/run_monitor.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace wan::test {
namespace {

class RunMonitorTest : public testing::Test {
 protected:
  nlohmann::json tell(const Event& event) {
    monitor_(event);
    return nlohmann::json::parse(to_json(told_.back()));
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
  DeviceUse use_{.used = 10, .peak = 20, .total = 100, .utilization = 0.75};
  std::function<DeviceUse()> read_ = [this] { return use_; };
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
  use_.used = 15;
  const nlohmann::json second = tell(step(2, 2.0));
  EXPECT_EQ(second["device_memory"]["used"], 15);
  EXPECT_EQ(second["device_utilization"], 0.75);
}

TEST_F(RunMonitorTest, WhatIsUnknownIsLeftOut) {
  use_.utilization = std::nullopt;
  EXPECT_FALSE(tell(step(1, 1.0)).contains("device_utilization"));
  read_ = nullptr;
  EXPECT_FALSE(tell(step(2, 2.0)).contains("device_memory"));
}

}  // namespace
}  // namespace wan::test
