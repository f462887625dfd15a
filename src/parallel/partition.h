#pragma once
// How a range of things (tokens, heads) is divided over ranks.

#include <cstdint>

namespace wan {

/// A half-open range of indexes.
struct Range {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::int64_t size() const { return end - begin; }
  friend bool operator==(const Range&, const Range&) = default;
};

/// Rank's share of `count` things over `ranks`: consecutive, sizes differing by at most one, larger shares
/// first. Any count works (31,899 tokens over 4 ranks: 7,975, 7,975, 7,975, 7,974), so nothing is ever
/// padded.
Range even_share(std::int64_t count, int ranks, int rank);

}  // namespace wan
