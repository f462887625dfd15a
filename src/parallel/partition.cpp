#include "parallel/partition.h"

#include <algorithm>

#include "base/error.h"

namespace wan {

Range even_share(std::int64_t count, int ranks, int rank) {
  WAN_CHECK(count >= 0 && ranks >= 1 && rank >= 0 && rank < ranks, kInternal,
            "[even_share] {} over {} ranks, rank {}", count, ranks, rank);
  const std::int64_t base = count / ranks;
  const std::int64_t larger = count % ranks;
  const std::int64_t begin = rank * base + std::min<std::int64_t>(rank, larger);
  return {begin, begin + base + (rank < larger ? 1 : 0)};
}

}  // namespace wan
