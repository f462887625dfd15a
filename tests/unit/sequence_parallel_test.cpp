// Attention over tokens that ranks divide: against one rank, to the bit, in as many groups of heads as links are worth, and with inputs that
// arrive no earlier than they must.

#include <gtest/gtest.h>

#include <cstring>
#include <thread>

#include "nn/sequence_parallel.h"
#include "ops/attention.h"
#include "parallel/local/local_communicator.h"
#include "support/compare.h"
#include "support/cpu_context.h"
#include "support/expect_error.h"

namespace wan::test {
namespace {

/// An exchange that nobody sees anything of before it is finished.
class LateExchange final : public PendingExchange {
 public:
  LateExchange(Communicator& ranks, std::span<const TensorView> send, std::span<const TensorView> recv)
      : ranks_(ranks), send_(send.begin(), send.end()), recv_(recv.begin(), recv.end()) {
    constexpr int kNaN = 0xff;  // of every byte
    for (const TensorView& view : recv_)
      for (std::int64_t row = 0; row < view.dim(0); ++row)
        std::memset(view.select(0, row).data(), kNaN,
                    static_cast<std::size_t>(view.dim(1) * view.dim(2)) * dtype_size(view.dtype()));
  }
  void finish() override { ranks_.all_to_all(send_, recv_); }

 private:
  Communicator& ranks_;
  std::vector<TensorView> send_, recv_;
};

class LateCommunicator final : public Communicator {
 public:
  LateCommunicator(Communicator& inner, ExchangeSpeed speed) : inner_(inner), speed_(speed) {}
  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  void all_to_all(std::span<const TensorView> send, std::span<const TensorView> recv) override {
    inner_.all_to_all(send, recv);
  }
  std::unique_ptr<PendingExchange> begin_all_to_all(std::span<const TensorView> send,
                                                    std::span<const TensorView> recv) override {
    ++begun_;
    return std::make_unique<LateExchange>(inner_, send, recv);
  }
  ExchangeSpeed exchange_speed() const override { return speed_; }
  void all_gather(const TensorView& send, std::span<const TensorView> recv) override {
    inner_.all_gather(send, recv);
  }
  void broadcast(const TensorView& data, int root) override { inner_.broadcast(data, root); }
  void barrier() override { inner_.barrier(); }
  void abort(const Error& cause) noexcept override { inner_.abort(cause); }
  int begun() const { return begun_; }

 private:
  Communicator& inner_;
  ExchangeSpeed speed_;
  int begun_ = 0;
};

struct Inputs {
  Inputs(std::int64_t tokens, std::int64_t heads, std::int64_t width, DType dtype = DType::kF32)
      : q(dtype, {tokens, heads, width}), k(dtype, q.shape()), v(dtype, q.shape()) {
    float phase = 0;
    for (const Tensor* const tensor : {&q, &k, &v})
      for (std::int64_t i = 0; i < tensor->elements(); ++i) {
        const float value = std::sin(phase += 0.7f + 1e-3f * static_cast<float>(i % 101));
        if (dtype == DType::kF32)
          tensor->as<float>()[i] = value;
        else
          tensor->as<BF16>()[i] = to_bf16(value);
      }
  }
  Tensor q, k, v;
};

TokenLayout layout_of(std::int64_t tokens, int ranks, int rank) {
  return TokenLayout::video(1, 1, tokens, ranks, rank);
}

Tensor attended(ExecContext& ctx, const TokenLayout& layout, const Inputs& inputs) {
  const Range mine = layout.local();
  const auto local = [&](const Tensor& all) { return all.view().slice(0, mine.begin, mine.end); };
  Tensor out(inputs.q.dtype(), local(inputs.q).shape());
  SequenceParallelAttention attention(ctx, layout, inputs.q.dtype(), inputs.q.dim(1), inputs.q.dim(2));
  attention.send_value(local(inputs.v));
  attention.send_query(local(inputs.q));
  attention.send_key(local(inputs.k));
  attention.attend(out);
  return out;
}

struct Case {
  int ranks;
  std::int64_t tokens, heads;
  ExchangeSpeed speed;
  int groups;
};

void PrintTo(const Case& test, std::ostream* out) {
  *out << test.ranks << " ranks, " << test.tokens << " tokens, " << test.heads << " heads";
}

class SequenceParallel : public ::testing::TestWithParam<Case> {};

TEST_P(SequenceParallel, IsTheAttentionOfOneRank) {
  const Case& test = GetParam();
  const Inputs inputs(test.tokens, test.heads, 8);
  CpuContext alone(1);
  const Tensor expected = attended(alone.ctx, layout_of(test.tokens, 1, 0), inputs);
  const auto communicators = make_local_communicators(test.ranks);
  std::vector<Tensor> parts(communicators.size());
  std::vector<std::thread> threads;
  for (std::size_t rank = 0; rank < parts.size(); ++rank)
    threads.emplace_back([&, rank] {
      CpuContext cpu(1);
      LateCommunicator late(*communicators[rank], test.speed);
      ExecContext ctx{.backend = *cpu.backend, .workspace = cpu.workspace, .communicator = late};
      parts[rank] = attended(ctx, layout_of(test.tokens, test.ranks, static_cast<int>(rank)), inputs);
      EXPECT_EQ(late.begun(), 4 * test.groups);
      communicators[rank]->barrier();
    });
  for (std::thread& thread : threads) thread.join();
  for (int rank = 0; rank < test.ranks; ++rank) {
    const Range share = layout_of(test.tokens, test.ranks, rank).local();
    EXPECT_TRUE(
        all_close(parts[static_cast<std::size_t>(rank)], expected.view().slice(0, share.begin, share.end), 0))
        << "rank " << rank;
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, SequenceParallel,
                         ::testing::Values(Case{2, 7, 2, ExchangeSpeed::kAtOnce, 1},
                                           Case{3, 31, 40, ExchangeSpeed::kDirect, 1},
                                           Case{3, 31, 40, ExchangeSpeed::kThroughHost, 2},
                                           Case{2, 9, 40, ExchangeSpeed::kThroughHost, 4},
                                           Case{4, 13, 67, ExchangeSpeed::kThroughHost, 3},
                                           Case{2, 9, 3, ExchangeSpeed::kThroughHost, 1}));

struct Machines {
  int machines, ranks;  // of each
  std::int64_t tokens, heads;
  bool alternate = false;  // ranks are on one machine after the other, not all of one and then of the next
  DType dtype = DType::kF32;
};

void PrintTo(const Machines& test, std::ostream* out) {
  *out << test.machines << " x " << test.ranks << ", " << test.tokens << " tokens";
}

class OnMachines : public ::testing::TestWithParam<Machines> {};

TEST_P(OnMachines, KeysAndValuesGoRound) {
  const Machines& test = GetParam();
  const Inputs inputs(test.tokens, test.heads, 8, test.dtype);
  CpuContext alone(1);
  const Tensor expected = attended(alone.ctx, layout_of(test.tokens, 1, 0), inputs);
  // Sums of exponentials in another order; in bf16 each machine's result is rounded, and their sum once more.
  const double tolerance = test.dtype == DType::kF32 ? 2e-6 : 6e-3;
  const int ranks = test.machines * test.ranks;
  std::vector<std::vector<std::unique_ptr<Communicator>>> within;
  std::vector<std::vector<std::unique_ptr<Communicator>>> across;
  for (int machine = 0; machine < test.machines; ++machine)
    within.push_back(make_local_communicators(test.ranks));
  for (int place = 0; place < test.ranks; ++place) across.push_back(make_local_communicators(test.machines));
  const auto all = make_local_communicators(ranks);
  std::vector<std::vector<int>> members(within.size());
  for (int rank = 0; rank < ranks; ++rank)
    members[static_cast<std::size_t>(test.alternate ? rank % test.machines : rank / test.ranks)].push_back(
        rank);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank)
    threads.emplace_back([&, rank] {
      const auto [machine, place] = test.alternate ? std::pair(static_cast<std::size_t>(rank % test.machines),
                                                               static_cast<std::size_t>(rank / test.machines))
                                                   : std::pair(static_cast<std::size_t>(rank / test.ranks),
                                                               static_cast<std::size_t>(rank % test.ranks));
      LateCommunicator late_within(*within[machine][place], ExchangeSpeed::kDirect);
      LateCommunicator late_across(*across[place][machine], ExchangeSpeed::kThroughHost);
      const MachineRanks machines{late_within, late_across, members};
      CpuContext cpu(1);
      ExecContext ctx{.backend = *cpu.backend,
                      .workspace = cpu.workspace,
                      .communicator = *all[static_cast<std::size_t>(rank)],
                      .machines = &machines};
      const TokenLayout layout = layout_of(test.tokens, ranks, rank);
      const Tensor part = attended(ctx, layout, inputs);
      const Range share = layout.local();
      EXPECT_TRUE(all_close(part, expected.view().slice(0, share.begin, share.end), tolerance))
          << "rank " << rank;
      EXPECT_EQ(late_within.begun(), test.ranks > 1 ? 4 : 0);
      EXPECT_EQ(late_across.begun(), 2 * (test.machines - 1));
      all[static_cast<std::size_t>(rank)]->barrier();
    });
  for (std::thread& thread : threads) thread.join();
}

INSTANTIATE_TEST_SUITE_P(Cases, OnMachines,
                         ::testing::Values(Machines{2, 2, 31, 5}, Machines{3, 1, 32, 2}, Machines{2, 1, 7, 1},
                                           Machines{4, 2, 319, 3}, Machines{3, 3, 10, 40},
                                           Machines{2, 2, 31, 5, true}, Machines{3, 2, 37, 7, true},
                                           Machines{2, 2, 31, 5, false, DType::kBF16},
                                           Machines{3, 1, 32, 2, false, DType::kBF16}));

TEST(SequenceParallelAttention, RefusesMoreRanksThanHeads) {
  CpuContext cpu;
  expect_error(ErrorCode::kInvalidArgument, "use at most 2",
               [&] { SequenceParallelAttention(cpu.ctx, layout_of(9, 3, 0), DType::kF32, 2, 8); });
}

TEST(HeadGroups, AreWorthTheirAttention) {
  constexpr std::int64_t k720p = 75'600;
  constexpr std::int64_t k480p = 32'760;
  EXPECT_EQ(head_groups(k720p, 40, 2, ExchangeSpeed::kAtOnce), 1);
  EXPECT_EQ(head_groups(k720p, 40, 2, ExchangeSpeed::kDirect), 2);
  EXPECT_EQ(head_groups(k720p, 40, 4, ExchangeSpeed::kDirect), 1);
  EXPECT_EQ(head_groups(k480p, 40, 2, ExchangeSpeed::kDirect), 1);
  EXPECT_EQ(head_groups(k480p, 40, 2, ExchangeSpeed::kThroughHost), 4);
  EXPECT_EQ(head_groups(k480p, 40, 3, ExchangeSpeed::kThroughHost), 2);
  EXPECT_EQ(head_groups(k480p, 40, 8, ExchangeSpeed::kThroughHost), 1);
  EXPECT_EQ(head_groups(k480p, 40, 40, ExchangeSpeed::kThroughHost), 1);
}

}  // namespace
}  // namespace wan::test
