#include "diffusion/scheduler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "json/json_text.h"
#include "json/strict_json.h"

namespace wan {
namespace {

using nlohmann::json;

constexpr SolverKind kSolvers[] = {SolverKind::kUniPC, SolverKind::kDPMpp, SolverKind::kEuler};
constexpr double kShifts[] = {1.0, 2.5, 3.0, 5.0, 7.0, 8.0, 12.0, 17.0};

const json& recorded() {
  static const json data = read_json_file(WAN_GOLDEN_DIR "/diffusion/scheduler.json", 8);
  return data;
}

std::string fnv1a(const void* data, std::size_t bytes) {
  std::uint32_t value = 0x811C9DC5u;
  for (std::size_t i = 0; i < bytes; ++i) {
    value = (value ^ static_cast<const unsigned char*>(data)[i]) * 0x01000193u;
  }
  char text[9];
  std::snprintf(text, sizeof text, "%08x", value);
  return text;
}

// state[target] = sum of the terms, for a state of a few values a slot. T is the type of the state;
// each product and sum is rounded to it.
template <typename T>
void apply(const SlotUpdate& update, std::vector<std::vector<T>>& state) {
  std::vector<T> sum(state[update.target].size(), T{0});
  for (const SlotTerm& term : update.terms) {
    for (std::size_t i = 0; i < sum.size(); ++i) {
      sum[i] += static_cast<T>(term.coefficient) * state.at(term.slot)[i];
    }
  }
  state[update.target] = sum;
}

// The samples after each step with the fake model of tools/golden/make_diffusion.py.
template <typename T>
std::vector<std::vector<T>> run(const Scheduler& scheduler) {
  const double a = recorded()["model"]["a"];
  const double b = recorded()["model"]["b"];
  const auto bias = recorded()["bias"].get<std::vector<double>>();
  // NaN in the history shows a slot that is read before it is written.
  std::vector<std::vector<T>> state(scheduler.slots(),
                                    std::vector<T>(bias.size(), static_cast<T>(std::nan(""))));
  state[Scheduler::kSample] = recorded()["start"].get<std::vector<T>>();
  std::vector<std::vector<T>> samples;
  for (int step = 0; step < scheduler.steps(); ++step) {
    const double time = b * static_cast<double>(scheduler.timestep(step)) / 1000.0;
    for (std::size_t i = 0; i < bias.size(); ++i) {
      state[Scheduler::kVelocity][i] =
          std::tanh(static_cast<T>(a) * state[Scheduler::kSample][i] + static_cast<T>(time + bias[i]));
    }
    for (const SlotUpdate& update : scheduler.updates(step)) apply(update, state);
    samples.push_back(state[Scheduler::kSample]);
  }
  return samples;
}

// sqrt(sum of squared differences / sum of squares) over all recorded steps.
template <typename T>
double trajectory_error(const json& trajectory, const char* reference) {
  const Scheduler scheduler =
      make_scheduler(parse_solver(trajectory["solver"].get<std::string>()), trajectory["steps"].get<int>(),
                     trajectory["shift"].get<double>());
  const auto samples = run<T>(scheduler);
  const auto expected = trajectory[reference].get<std::vector<double>>();
  double difference = 0.0;
  double norm = 0.0;
  std::size_t next = 0;
  for (const int after : trajectory["after"]) {
    for (const T value : samples.at(after - 1)) {
      difference += std::pow(static_cast<double>(value) - expected.at(next), 2);
      norm += std::pow(expected[next], 2);
      ++next;
    }
  }
  EXPECT_EQ(next, expected.size());
  return std::sqrt(difference / norm);
}

std::string label(const json& trajectory) {
  return trajectory["solver"].get<std::string>() + ", steps " + json_text(trajectory["steps"]) + ", shift " +
         json_text(trajectory["shift"]);
}

// Bit for bit: a timestep that is off by one, or a sigma by one ulp, changes its digest.
TEST(SchedulerTest, TimestepsAndSigmasAreTheOfficialOnesForUpTo200Steps) {
  int tables = 0;
  for (const json& digest : recorded()["digests"]) {
    const SolverKind solver = parse_solver(digest["grid"].get<std::string>());
    const double shift = digest["shift"];
    for (int steps = 1; steps <= 200; ++steps, ++tables) {
      const Scheduler scheduler = make_scheduler(solver, steps, shift);
      std::vector<std::int16_t> timesteps(scheduler.timesteps().begin(), scheduler.timesteps().end());
      std::vector<float> sigmas;
      for (const double sigma : scheduler.sigmas()) sigmas.push_back(static_cast<float>(sigma));
      const std::size_t at = 8 * (steps - 1);
      ASSERT_EQ(fnv1a(timesteps.data(), 2 * timesteps.size()),
                digest["timesteps"].get<std::string>().substr(at, 8))
          << solver_name(solver) << ", steps " << steps << ", shift " << shift;
      ASSERT_EQ(fnv1a(sigmas.data(), 4 * sigmas.size()), digest["sigmas"].get<std::string>().substr(at, 8))
          << solver_name(solver) << ", steps " << steps << ", shift " << shift;
    }
  }
  EXPECT_EQ(tables, 2 * 8 * 200);
}

TEST(SchedulerTest, ListedTimestepsAreTheOfficialOnes) {
  const json& lists = recorded()["timesteps"];
  const auto timesteps = [](const Scheduler& s) {
    return std::vector<std::int64_t>(s.timesteps().begin(), s.timesteps().end());
  };
  EXPECT_EQ(timesteps(make_scheduler(SolverKind::kUniPC, 40, 12)),
            lists["unipc 40 12"].get<std::vector<std::int64_t>>());
  EXPECT_EQ(timesteps(make_scheduler(SolverKind::kUniPC, 20, 5)),
            lists["unipc 20 5"].get<std::vector<std::int64_t>>());
  EXPECT_EQ(timesteps(make_scheduler(SolverKind::kDPMpp, 40, 12)),
            lists["dpm++ 40 12"].get<std::vector<std::int64_t>>());
  EXPECT_EQ(make_scheduler(SolverKind::kUniPC, 40, 12).timestep(0), 999);
  EXPECT_EQ(make_scheduler(SolverKind::kDPMpp, 40, 12).timestep(0), 1000);
  EXPECT_EQ(make_scheduler(SolverKind::kDPMpp, 40, 12).sigma(0), 1.0);
}

TEST(SchedulerTest, EulerTakesTheGridOfDPMpp) {
  const Scheduler euler = make_scheduler(SolverKind::kEuler, 30, 7.0);
  const Scheduler dpmpp = make_scheduler(SolverKind::kDPMpp, 30, 7.0);
  for (int i = 0; i <= 30; ++i) EXPECT_EQ(euler.sigma(i), dpmpp.sigma(i));
  for (int i = 0; i < 30; ++i) EXPECT_EQ(euler.timestep(i), dpmpp.timestep(i));
}

// The reference schedulers with coefficients and state in fp64 (from the same float32 sigmas). The golden
// values have 13 digits; what remains is cancellation in log-SNR differences, at most a few hundred ulp.
TEST(SchedulerTest, TrajectoriesMatchTheReferenceInDouble) {
  std::set<std::string> solvers;
  for (const json& trajectory : recorded()["trajectories"]) {
    solvers.insert(trajectory["solver"].get<std::string>());
    EXPECT_LT(trajectory_error<double>(trajectory, "fp64"), 1e-11) << label(trajectory);
  }
  EXPECT_EQ(solvers, (std::set<std::string>{"unipc", "dpm++", "euler"}));
}

// As the official code runs them: coefficients and state in fp32. Its rounding alone
// puts it up to 7e-7 from fp64.
TEST(SchedulerTest, TrajectoriesMatchTheReferenceInFloat) {
  double worst = 0.0;
  for (const json& trajectory : recorded()["trajectories"]) {
    const double error = trajectory_error<float>(trajectory, "fp32");
    worst = std::max(worst, error);
    EXPECT_LT(error, 1e-6) << label(trajectory);
  }
  RecordProperty("worst", testing::PrintToString(worst));
}

TEST(SchedulerTest, UpdatesAreWellFormed) {
  for (const SolverKind solver : kSolvers) {
    for (const double shift : kShifts) {
      for (const int steps : {1, 2, 3, 4, 20, 200, 1000}) {
        const Scheduler scheduler = make_scheduler(solver, steps, shift);
        ASSERT_EQ(scheduler.steps(), steps);
        ASSERT_EQ(scheduler.sigma(steps), 0.0);
        std::set<int> written{Scheduler::kSample, Scheduler::kVelocity};
        for (int step = 0; step < steps; ++step) {
          ASSERT_GT(scheduler.sigma(step), scheduler.sigma(step + 1));
          double constant = 0.0;
          for (const SlotUpdate& update : scheduler.updates(step)) {
            ASSERT_NE(update.target, Scheduler::kVelocity);
            ASSERT_LE(update.terms.size(), static_cast<std::size_t>(Scheduler::kMaxTerms));
            constant = 0.0;
            for (const SlotTerm& term : update.terms) {
              ASSERT_TRUE(std::isfinite(term.coefficient) && term.coefficient != 0.0);
              ASSERT_LT(term.slot, scheduler.slots());
              ASSERT_TRUE(written.contains(term.slot))
                  << "slot " << term.slot << " is read before it is written";
              if (term.slot != Scheduler::kVelocity) constant += term.coefficient;
            }
            // A constant sample of velocity 0 is a fixed point of every update.
            ASSERT_NEAR(constant, 1.0, 1e-9);
            written.insert(update.target);
          }
        }
      }
    }
  }
}

// A model that knows the data d and the noise n answers n - d everywhere. Every solver is then exact, over
// any number of steps: from (1 - sigma) d + sigma n to d.
TEST(SchedulerTest, AStraightPathEndsAtTheData) {
  for (const SolverKind solver : kSolvers) {
    for (const int steps : {1, 2, 3, 7, 40}) {
      const Scheduler scheduler = make_scheduler(solver, steps, 5.0);
      const std::vector<double> data{-1.5, 0.25};
      const std::vector<double> noise{0.5, 2.0};
      std::vector<std::vector<double>> state(scheduler.slots(), std::vector<double>(2, std::nan("")));
      const double sigma = scheduler.sigma(0);
      for (int i = 0; i < 2; ++i) state[0][i] = (1.0 - sigma) * data[i] + sigma * noise[i];
      for (int step = 0; step < steps; ++step) {
        state[1] = {noise[0] - data[0], noise[1] - data[1]};
        for (const SlotUpdate& update : scheduler.updates(step)) apply(update, state);
      }
      for (int i = 0; i < 2; ++i)
        EXPECT_NEAR(state[0][i], data[i], 1e-12) << solver_name(solver) << " " << steps;
    }
  }
}

// Truncation makes the first two timesteps of this schedule equal; the official look-up
// then starts at the second.
TEST(SchedulerTest, EqualTimestepsAreStillTwoSteps) {
  const Scheduler scheduler = make_scheduler(SolverKind::kUniPC, 92, 12.0);
  ASSERT_EQ(scheduler.timestep(0), scheduler.timestep(1));
  EXPECT_GT(scheduler.sigma(0), scheduler.sigma(1));
  EXPECT_EQ(run<double>(scheduler).size(), 92u);
}

TEST(SchedulerTest, NamesOfSolvers) {
  for (const SolverKind solver : kSolvers) EXPECT_EQ(parse_solver(solver_name(solver)), solver);
  EXPECT_STREQ(solver_name(SolverKind::kDPMpp), "dpm++");
  EXPECT_THROW(parse_solver("UniPC"), Error);
  EXPECT_THROW(parse_solver(""), Error);
}

TEST(SchedulerTest, RefusesImpossibleSchedules) {
  const double infinity = std::numeric_limits<double>::infinity();
  for (const SolverKind solver : kSolvers) {
    for (const int steps : {0, -1, 1001}) EXPECT_THROW(make_scheduler(solver, steps, 5.0), Error) << steps;
    for (const double shift : {0.0, -3.0, infinity, std::nan(""), 1e9, 1e300, 1e-300}) {
      EXPECT_THROW(make_scheduler(solver, 20, shift), Error) << solver_name(solver) << " " << shift;
    }
  }
  try {
    make_scheduler(SolverKind::kUniPC, 0, 5.0);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    EXPECT_NE(std::string(error.what()).find("1 to 1000 sampling steps, got 0"), std::string::npos);
  }
}

// diffusers 0.42.1: FlowMatchEulerDiscreteScheduler(shift=5).set_timesteps(sigmas=[1, 0.75, 0.5, 0.25]) and
// [1, 0.875, ..., 0.125]; LightX2V's denoising_step_list [1000, 750, 500, 250] with sample_shift 5 is the former.
TEST(Scheduler, DistilledGridIsTheOneOfOthers) {
  const std::vector<double> four = distilled_timesteps(4, 5.0);
  const double expected4[] = {1000.0, 937.5, 833.33331298828125, 625.0};
  const double expected8[] = {
      1000.0, 972.22222900390625, 937.5, 892.85711669921875, 833.33331298828125, 750.0,
      625.0,  416.66665649414062};
  ASSERT_EQ(four.size(), 4u);
  for (std::size_t i = 0; i < four.size(); ++i) EXPECT_NEAR(four[i], expected4[i], 1e-4);
  const std::vector<double> eight = distilled_timesteps(8, 5.0);
  ASSERT_EQ(eight.size(), 8u);
  for (std::size_t i = 0; i < eight.size(); ++i) EXPECT_NEAR(eight[i], expected8[i], 1e-4);

  const Scheduler scheduler = make_scheduler(SolverKind::kEuler, four, 5.0);
  EXPECT_EQ(scheduler.steps(), 4);
  EXPECT_EQ(scheduler.timestep(1), 937.5);  // not truncated
  EXPECT_EQ(scheduler.sigma(1), 0.9375);
  EXPECT_EQ(scheduler.sigma(4), 0.0);
  // A step of Euler: x + (sigma' - sigma) v.
  const SlotUpdate& update = scheduler.updates(0).back();
  for (const SlotTerm& term : update.terms)
    EXPECT_NEAR(term.coefficient, term.slot == Scheduler::kSample ? 1.0 : -0.0625, 1e-12);
}

TEST(Scheduler, GivenTimestepsAreChecked) {
  const auto make = [](SolverKind solver, std::vector<double> timesteps) {
    static_cast<void>(make_scheduler(solver, timesteps, 5.0));
  };
  make(SolverKind::kDPMpp, {1000, 500, 1});
  make(SolverKind::kUniPC, {999, 500.5});
  for (const std::vector<double>& wrong : {std::vector<double>{},
                                           {1001},
                                           {500, 500},
                                           {400, 500},
                                           {500, 0},
                                           {500, -1},
                                           {std::nan("")},
                                           {900, std::nan("")}})
    EXPECT_THROW(make(SolverKind::kEuler, wrong), Error);
  EXPECT_THROW(make(SolverKind::kUniPC, {1000, 500}), Error);
}

}  // namespace
}  // namespace wan
