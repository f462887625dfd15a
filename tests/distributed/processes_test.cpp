// Ranks in several processes. Every process runs all tests, in the same order; mpirun starts them (see CMakeLists.txt). Each has two
// ranks, threads of it, which have their values where rank_memory.h says.

#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <thread>

#include "distributed/communicator_contract.h"
#include "distributed/rank_memory.h"
#include "support/expect_error.h"

namespace wan::test {
namespace {

ProcessGroup& processes() {
  static ProcessGroup group(find_launch(), "1", {});
  return group;
}

/// Numbers that all processes count alike.
std::uint32_t& connection_number() {
  static std::uint32_t number = 0;
  return number;
}

std::uint32_t next_connection() {
  processes().open_connection(++connection_number());
  return connection_number();
}

RankGroup all_ranks(std::uint32_t connection) {
  RankGroup group{.connection = connection, .number = 0, .processes = {}};
  for (int process = 0; process < processes().size(); ++process)
    group.processes.insert(group.processes.end(), kRanks, process);
  return group;
}

/// Of all ranks, this process's.
std::vector<RankMemory> join_all(const RankGroup& group) {
  return join_ranks(processes(), group, {0, 1});
}

/// Of a rank of any process where all ranks are the group.
Tensor tensor_of(const Communicator& c, const Shape& shape) {
  return {rank_allocator(c.rank() % kRanks), DType::kF32, shape};
}

constexpr std::chrono::milliseconds kPatience{20000};

using Outcomes =
    std::array<std::string, kRanks>;  // what each of this process's ranks threw; empty for nothing

/// body(communicator) on a thread a rank, and their failures; a rank that fails ends the others.
Outcomes run_ranks(const std::function<void(Communicator&)>& body, const RankGroup& group,
                   std::vector<RankMemory> memory, std::chrono::milliseconds timeout) {
  Outcomes outcomes;
  std::array<std::unique_ptr<Communicator>, kRanks> communicators;
  for (std::size_t i = 0; i < kRanks; ++i)
    communicators[i] = make_process_communicator(
        processes(), group, processes().rank() * kRanks + static_cast<int>(i), std::move(memory[i]), timeout);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < kRanks; ++i)
    threads.emplace_back([&, i] {
      try {
        body(*communicators[i]);
      } catch (const Error& error) {
        outcomes[i] = error.what();
        communicators[i]->abort(error);
      }
    });
  for (std::thread& thread : threads) thread.join();
  return outcomes;
}

Outcomes run_ranks(const std::function<void(Communicator&)>& body,
                   std::chrono::milliseconds timeout = kPatience) {
  const RankGroup group = all_ranks(next_connection());
  return run_ranks(body, group, join_all(group), timeout);
}

INSTANTIATE_TEST_SUITE_P(Processes, CommunicatorContract,
                         testing::Values(ContractRanks{.name = "processes",
                                                       .run =
                                                           [](const RankBody& body) {
                                                             const Outcomes outcomes = run_ranks(body);
                                                             return std::vector<std::string>(outcomes.begin(),
                                                                                             outcomes.end());
                                                           },
                                                       .allocator = [](int rank) -> Allocator& {
                                                         return rank_allocator(rank % kRanks);
                                                       }}));

TEST(Processes, HalvesOfTheRanksAreGroupsOfTheirOwn) {
  const RankGroup all = all_ranks(next_connection());
  const int size = static_cast<int>(all.processes.size());
  // Each half has one rank of every process.
  std::array<RankGroup, kRanks> halves{RankGroup{.connection = all.connection, .number = 1, .processes = {}},
                                       RankGroup{.connection = all.connection, .number = 2, .processes = {}}};
  std::array<std::vector<RankMemory>, kRanks> memory;
  for (int i = 0; i < kRanks; ++i) {
    RankGroup& half = halves[static_cast<std::size_t>(i)];
    for (int process = 0; process < processes().size(); ++process) half.processes.push_back(process);
    memory[static_cast<std::size_t>(i)] = join_ranks(processes(), half, {i});
  }
  std::vector<std::thread> threads;
  std::array<float, kRanks> sums{};
  for (int i = 0; i < kRanks; ++i)
    threads.emplace_back([&, i] {
      const int rank = processes().rank() * kRanks + i;
      const RankGroup& half = halves[static_cast<std::size_t>(i)];
      const auto communicator =
          make_process_communicator(processes(), half, processes().rank(),
                                    std::move(memory[static_cast<std::size_t>(i)].front()), kPatience);
      const auto one = [&] { return Tensor(rank_allocator(i), DType::kF32, {1}); };
      const Tensor mine = one();
      *mine.as<float>() = static_cast<float>(rank);
      std::vector<Tensor> theirs;
      std::vector<TensorView> recv;
      for (std::size_t member = 0; member < half.processes.size(); ++member) {
        theirs.push_back(one());
        recv.push_back(theirs.back());
      }
      communicator->all_gather(mine, recv);
      for (const Tensor& value_of : theirs) sums[static_cast<std::size_t>(i)] += *value_of.as<float>();
    });
  for (std::thread& thread : threads) thread.join();
  for (int i = 0; i < kRanks; ++i) {
    float expected = 0;
    for (int member = i; member < size; member += kRanks) expected += static_cast<float>(member);
    EXPECT_EQ(sums[static_cast<std::size_t>(i)], expected);
  }
}

void expect_failure(const Outcomes& outcomes, const std::string& part) {
  for (const std::string& outcome : outcomes) EXPECT_NE(outcome.find(part), std::string::npos) << outcome;
}

TEST(Processes, CountsThatDifferEndAllRanks) {
  expect_failure(run_ranks([](Communicator& c) {
                   const Tensor data = tensor_of(c, {c.rank() == 1 ? 4 : 3});
                   c.broadcast(data, 0);
                   c.barrier();
                 }),
                 "sent 12 bytes in its exchange 1 (of kind 3), and rank 1 expected 16");
}

TEST(Processes, CallsThatDifferEndAllRanks) {
  expect_failure(run_ranks([](Communicator& c) {
                   const Tensor data = tensor_of(c, {0});
                   if (c.rank() == 1) {
                     c.broadcast(data, 0);
                   } else {
                     c.barrier();
                   }
                   c.barrier();
                   c.barrier();
                 }),
                 "of kind");
}

TEST(Processes, ARankThatFailsEndsTheOthersWithItsOwnWords) {
  const int last = processes().size() * kRanks - 1;
  const Outcomes outcomes = run_ranks([&](Communicator& c) {
    c.barrier();
    if (c.rank() == last) {
      processes().fail_connection(connection_number(), {ErrorCode::kOutOfMemory, "no memory"});
      fail(ErrorCode::kOutOfMemory, "no memory");
    }
    c.barrier();
  });
  expect_failure(outcomes, "no memory");
  // The origin's name where it is not this process.
  if (processes().rank() != processes().size() - 1)
    expect_failure(outcomes, processes().name(processes().size() - 1));
}

TEST(Processes, ARankThatDoesNotComeEndsTheOthers) {
  expect_failure(run_ranks(
                     [&](Communicator& c) {
                       if (c.rank() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(600));
                       c.barrier();
                     },
                     std::chrono::milliseconds(200)),
                 "did not come to an exchange");
}

TEST(Processes, ARankThatLeavesEndsWhoWaitsForIt) {
  const RankGroup group = all_ranks(next_connection());
  std::vector<RankMemory> memory = join_all(group);
  std::vector<std::thread> threads;
  Outcomes outcomes;
  for (int i = 0; i < kRanks; ++i)
    threads.emplace_back([&, i] {
      const int rank = processes().rank() * kRanks + i;
      const auto communicator = make_process_communicator(
          processes(), group, rank, std::move(memory[static_cast<std::size_t>(i)]), kPatience);
      try {
        communicator->barrier();
        if (rank != 0) communicator->barrier();
      } catch (const Error& error) {
        outcomes[static_cast<std::size_t>(i)] = error.what();
        communicator->abort(error);
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (int i = processes().rank() == 0 ? 1 : 0; i < kRanks; ++i)
    EXPECT_NE(outcomes[static_cast<std::size_t>(i)].find("another rank"), std::string::npos)
        << outcomes[static_cast<std::size_t>(i)];
}

// The rank has come to the exchange, and its device has not.
TEST(Processes, ADeviceThatDoesNotComeEndsAllRanks) {
  if (rank_allocator(0).device().kind == DeviceKind::kCpu) return;
  if (processes().rank() == 1) drop_next_exchange();
  const auto start = std::chrono::steady_clock::now();
  expect_failure(run_ranks(
                     [](Communicator& c) {
                       const Tensor data = tensor_of(c, {7});
                       for (int pass = 0; pass < 3; ++pass)
                         for (int root = 0; root < c.size(); ++root) c.broadcast(data, root);
                       c.barrier();
                     },
                     std::chrono::milliseconds(500)),
                 "within 0.5 s");
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
}

/// Its device stands in the first exchange until that is aborted.
class StandingDevices final : public DeviceGroup {
 public:
  bool is_ready() override { return true; }
  std::shared_ptr<const WorkMark> exchange(std::span<const Transfer>, std::span<const Transfer>,
                                           const std::function<void()>&) override {
    begun_ = true;
    return std::make_shared<const Mark>(aborted_);
  }
  std::optional<std::uint64_t> under_way() override {
    return begun_ ? std::optional<std::uint64_t>(0) : std::nullopt;
  }
  void abort() noexcept override { *aborted_ = true; }
  bool is_aborted() const override { return *aborted_; }
  void begin_end() noexcept override {}

 private:
  using Flag = std::shared_ptr<std::atomic<bool>>;
  class Mark final : public WorkMark {
   public:
    explicit Mark(Flag over) : over_(std::move(over)) {}
    void wait() const override {
      while (!*over_) std::this_thread::yield();
    }

   private:
    Flag over_;
  };

  std::atomic<bool> begun_{false};
  Flag aborted_ = std::make_shared<std::atomic<bool>>(false);
};

// The ranks' threads wait for their devices meanwhile.
TEST(Processes, ADeviceThatStandsInAnExchangeEndsAllRanks) {
  if (rank_allocator(0).device().kind == DeviceKind::kCpu) return;
  const RankGroup group = all_ranks(next_connection());
  std::vector<RankMemory> memory = join_all(group);
  for (RankMemory& each : memory) each.devices = std::make_shared<StandingDevices>();
  expect_failure(run_ranks(
                     [](Communicator& c) {
                       c.broadcast(tensor_of(c, {7}), 0);
                       c.check();
                     },
                     group, std::move(memory), std::chrono::milliseconds(200)),
                 "in an exchange for 0.2 s");
}

TEST(Processes, AStopIsHeardInTheMiddleOfAnExchange) {
  const std::atomic<bool> stopped{true};
  if (processes().rank() == 0) processes().stop_with(&stopped);
  const Outcomes outcomes = run_ranks([](Communicator& c) {
    if (c.rank() == c.size() - 1) std::this_thread::sleep_for(std::chrono::milliseconds(300));
    c.barrier();
  });
  processes().stop_with(nullptr);
  if (processes().rank() == 0) {
    EXPECT_NE((outcomes[0] + outcomes[1]).find("stopped on request"), std::string::npos);
  }
}

}  // namespace
}  // namespace wan::test

/// What the first process finds is printed; others print only what fails.
int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (wan::test::processes().size() < 2) {
    std::puts("to be started by mpirun, as two processes or more");
    return 1;
  }
  const int status = RUN_ALL_TESTS();
  wan::test::processes().finish(status);
  return status;
}
