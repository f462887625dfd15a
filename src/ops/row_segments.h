#pragma once
// RowSegments: which row of a small table (modulation, gate) each row of a long sequence uses.

#include <cstdint>
#include <span>

namespace wan {

/// ends[s] is one past the last sequence row that uses table row s; ascending, the last equals the sequence's
/// length. A14B has one segment; TI2V-5B image-to-video two (the pinned first frame at timestep 0, the rest).
struct RowSegments {
  std::span<const std::int64_t> ends;
  std::int64_t count() const { return static_cast<std::int64_t>(ends.size()); }
};

/// Throws Internal, naming op, unless ends ascend and stop at `rows`.
void check_segments(const char* op, const RowSegments& segments, std::int64_t rows);

}  // namespace wan
