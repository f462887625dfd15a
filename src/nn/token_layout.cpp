#include "nn/token_layout.h"

#include <algorithm>

#include "base/error.h"

namespace wan {

TokenLayout::TokenLayout(std::vector<TokenSegment> segments, std::vector<TokenPosition> positions, int ranks,
                         int rank)
    : segments_(std::move(segments)), positions_(std::move(positions)), ranks_(ranks), rank_(rank) {
  WAN_CHECK(tokens() >= ranks, kInvalidArgument,
            "the video has {} tokens, fewer than the {} ranks; use fewer ranks or a larger video", tokens(),
            ranks);
  const Range mine = local();
  std::int64_t begin = 0;
  for (const TokenSegment& segment : segments_) {
    const std::int64_t end = begin + segment.tokens;
    const std::int64_t first = std::max(begin, mine.begin);
    const std::int64_t last = std::min(end, mine.end);
    if (first < last) {
      if (local_run_rows_.empty() || local_run_rows_.back() != segment.modulation_row) {
        local_run_rows_.push_back(segment.modulation_row);
        local_run_ends_.push_back(0);
      }
      local_run_ends_.back() = last - mine.begin;
    }
    begin = end;
  }
  WAN_CHECK(begin == tokens(), kInternal, "[TokenLayout] segments hold {} tokens, there are {} positions",
            begin, tokens());
}

TokenLayout TokenLayout::video(std::int64_t frames, std::int64_t rows, std::int64_t columns, int ranks,
                               int rank, std::int64_t given_frames) {
  WAN_CHECK(given_frames >= 0 && given_frames <= frames, kInternal, "[TokenLayout] {} of {} frames are given",
            given_frames, frames);
  std::vector<TokenPosition> positions;
  positions.reserve(static_cast<std::size_t>(frames * rows * columns));
  for (std::int32_t f = 0; f < frames; ++f)
    for (std::int32_t y = 0; y < rows; ++y)
      for (std::int32_t x = 0; x < columns; ++x) positions.push_back({f, y, x});
  std::vector<TokenSegment> segments;
  if (given_frames > 0) segments.push_back({"given", given_frames * rows * columns, 1});
  if (given_frames < frames) segments.push_back({"video", (frames - given_frames) * rows * columns, 0});
  return TokenLayout(std::move(segments), std::move(positions), ranks, rank);
}

std::span<const TokenPosition> TokenLayout::local_positions() const {
  const Range mine = local();
  return std::span(positions_)
      .subspan(static_cast<std::size_t>(mine.begin), static_cast<std::size_t>(mine.size()));
}

}  // namespace wan
