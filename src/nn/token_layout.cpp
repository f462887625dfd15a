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
      local_run_ends_.push_back(last - mine.begin);
      local_run_rows_.push_back(segment.modulation_row);
    }
    begin = end;
  }
  WAN_CHECK(begin == tokens(), kInternal, "[TokenLayout] segments hold {} tokens, there are {} positions",
            begin, tokens());
}

TokenLayout TokenLayout::video(std::int64_t frames, std::int64_t rows, std::int64_t columns, int ranks,
                               int rank) {
  std::vector<TokenPosition> positions;
  positions.reserve(static_cast<std::size_t>(frames * rows * columns));
  for (std::int32_t f = 0; f < frames; ++f)
    for (std::int32_t y = 0; y < rows; ++y)
      for (std::int32_t x = 0; x < columns; ++x) positions.push_back({f, y, x});
  const std::int64_t count = frames * rows * columns;
  return TokenLayout({{"video", count, 0}}, std::move(positions), ranks, rank);
}

std::span<const TokenPosition> TokenLayout::local_positions() const {
  const Range mine = local();
  return std::span(positions_)
      .subspan(static_cast<std::size_t>(mine.begin), static_cast<std::size_t>(mine.size()));
}

}  // namespace wan
