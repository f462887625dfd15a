#pragma once
// RowSegments as a kernel parameter: a launch carries a few segments, a sequence with more is done in several launches.

#include <cstdint>

#include "backends/cuda/kernels/platform.h"
#include "base/error.h"
#include "ops/row_segments.h"

namespace wan::cuda {

/// Consecutive rows and the table rows that they use.
struct SegmentGroup {
  static constexpr int kMost = 16;
  std::int64_t first_row = 0;
  std::int64_t rows = 0;
  std::int64_t first_segment = 0;
  std::int64_t ends[kMost] = {};  // of sequence rows; past `count` unused
  int count = 0;                  // 0: there is no table

  /// The table row of sequence row `row`.
  __host__ __device__ std::int64_t segment_of(std::int64_t row) const {
    int segment = 0;
    while (segment + 1 < count && row >= ends[segment]) ++segment;
    return first_segment + segment;
  }
};

/// visit(group) for groups that together are all rows, each with some. No segments: one group without a table.
template <typename Visit>
void for_each_segment_group(const RowSegments& segments, std::int64_t rows, Visit&& visit) {
  const auto visit_rows = [&](SegmentGroup& group, std::int64_t end) {
    constexpr std::int64_t kMostRows = 0x7fffffff;  // blocks of a grid
    WAN_ASSERT(end - group.first_row <= kMostRows);
    group.rows = end - group.first_row;
    if (group.rows > 0) visit(static_cast<const SegmentGroup&>(group));
  };
  if (segments.count() == 0) {
    SegmentGroup all;
    return visit_rows(all, rows);
  }
  std::int64_t first_row = 0;
  for (std::int64_t first = 0; first < segments.count(); first += SegmentGroup::kMost) {
    SegmentGroup group;
    group.first_row = first_row;
    group.first_segment = first;
    while (group.count < SegmentGroup::kMost && first + group.count < segments.count()) {
      group.ends[group.count] = segments.ends[static_cast<std::size_t>(first + group.count)];
      ++group.count;
    }
    first_row = group.ends[group.count - 1];
    visit_rows(group, first_row);
  }
}

}  // namespace wan::cuda
