#include "distributed/rank_memory.h"

namespace wan::test {

Allocator& rank_allocator(int) {
  return cpu_allocator();
}

std::vector<RankMemory> join_ranks(ProcessGroup&, const RankGroup&, const std::vector<int>& own) {
  return std::vector<RankMemory>(own.size());
}

void drop_next_exchange() {}

}  // namespace wan::test
