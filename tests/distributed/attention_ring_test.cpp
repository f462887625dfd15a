// Attention whose keys and values go round processes, as they do round machines: what one rank makes of all. mpirun starts them (see
// CMakeLists.txt).

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <thread>

#include "nn/sequence_parallel.h"
#include "parallel/mpi/process_communicator.h"
#include "support/compare.h"
#include "support/cpu_context.h"

namespace wan::test {
namespace {

ProcessGroup& processes() {
  static ProcessGroup group(find_launch(), "1", {});
  return group;
}

constexpr std::chrono::milliseconds kPatience{20000};

/// Attention's inputs, the same in all processes: [tokens, heads, width].
Tensor numbers(std::int64_t tokens, float phase) {
  Tensor made(DType::kF32, {tokens, 5, 8});
  for (std::int64_t i = 0; i < made.elements(); ++i)
    made.as<float>()[i] = std::sin(phase += 0.7f + 1e-3f * static_cast<float>(i % 101));
  return made;
}

/// This rank's rows of it, of `layout`; `machines` as in ExecContext.
Tensor attended(Communicator& all, const MachineRanks* machines, const TokenLayout& layout) {
  CpuContext cpu(1);
  ExecContext ctx{
      .backend = *cpu.backend, .workspace = cpu.workspace, .communicator = all, .machines = machines};
  const Range mine = layout.local();
  const Tensor q = numbers(layout.tokens(), 0);
  const Tensor k = numbers(layout.tokens(), 1);
  const Tensor v = numbers(layout.tokens(), 2);
  Tensor out(DType::kF32, {mine.size(), q.shape()[1], q.shape()[2]});
  SequenceParallelAttention attention(ctx, layout, DType::kF32, q.shape()[1], q.shape()[2]);
  attention.send_value(v.view().slice(0, mine.begin, mine.end));
  attention.send_query(q.view().slice(0, mine.begin, mine.end));
  attention.send_key(k.view().slice(0, mine.begin, mine.end));
  attention.attend(out);
  return out;
}

/// Each process is a machine, of which so many ranks take part.
void expect_attention_round_processes(int ranks_of_each) {
  constexpr std::int64_t kTokens = 319;  // divided evenly by nothing here
  static std::uint32_t connection = 0;
  processes().open_connection(++connection);
  const int machines = processes().size();
  const int ranks = machines * ranks_of_each;
  RankGroup all{.connection = connection, .number = 0, .processes = {}};
  std::vector<std::vector<int>> members(static_cast<std::size_t>(machines));
  for (int rank = 0; rank < ranks; ++rank) {
    all.processes.push_back(rank / ranks_of_each);
    members[static_cast<std::size_t>(rank / ranks_of_each)].push_back(rank);
  }
  SelfCommunicator alone;
  const Tensor expected = attended(alone, nullptr, TokenLayout::video(1, 1, kTokens, 1, 0));
  std::vector<std::thread> threads;
  for (int place = 0; place < ranks_of_each; ++place)
    threads.emplace_back([&, place] {
      const int machine = processes().rank();
      const int rank = machine * ranks_of_each + place;
      RankGroup near{
          .connection = all.connection, .number = 1 + static_cast<std::uint32_t>(machine), .processes = {}};
      near.processes.assign(static_cast<std::size_t>(ranks_of_each), machine);
      RankGroup far{
          .connection = all.connection, .number = 100 + static_cast<std::uint32_t>(place), .processes = {}};
      for (int other = 0; other < machines; ++other) far.processes.push_back(other);
      const auto make = [&](const RankGroup& group, int self) {
        return make_process_communicator(processes(), group, self, {}, kPatience);
      };
      const auto ways = make(all, rank);
      const auto within = make(near, place);
      const auto across = make(far, machine);
      const MachineRanks ring{*within, *across, members};
      const TokenLayout layout = TokenLayout::video(1, 1, kTokens, ranks, rank);
      const Tensor out = attended(*ways, &ring, layout);
      const Range mine = layout.local();
      EXPECT_TRUE(all_close(out, expected.view().slice(0, mine.begin, mine.end), 2e-6)) << "rank " << rank;
      ways->barrier();
    });
  for (std::thread& thread : threads) thread.join();
}

TEST(AttentionRing, GoesRoundProcesses) {
  for (const int ranks_of_each : {1, 2, 3}) expect_attention_round_processes(ranks_of_each);
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
