#pragma once
// Where the ranks of the processes' tests have what they exchange: in the host's memory, or in that of emulated GPUs.

#include "parallel/mpi/process_communicator.h"

namespace wan::test {

inline constexpr int kRanks = 2;  // of each process

/// Of this process's rank `index`.
Allocator& rank_allocator(int index);
/// Of each of this process's ranks that are in the group, by their order, for a communicator of it. All processes with such ranks call
/// this, in one order.
std::vector<RankMemory> join_ranks(ProcessGroup& processes, const RankGroup& group,
                                   const std::vector<int>& own);
/// The next exchange in which one of this process's devices sends does not take place. Of devices alone.
void drop_next_exchange();

}  // namespace wan::test
