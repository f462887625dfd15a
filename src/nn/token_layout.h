#pragma once
// TokenLayout: what the tokens of a sequence are, where they stand in space and time, which modulation they take, and
// which of them this rank holds.

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "ops/row_segments.h"
#include "parallel/partition.h"
#include "tensor/tensor.h"

namespace wan {

/// Time, height and width of a token in the latent's patch grid; what RoPE rotates by. May be negative.
using TokenPosition = std::array<std::int32_t, 3>;

/// A run of tokens of one kind ("video", "reference", "motion") that share one modulation row.
struct TokenSegment {
  std::string name;
  std::int64_t tokens;
  int modulation_row;  // index into the timesteps of a forward call
};

class TokenLayout {
 public:
  /// positions has one entry a token, in the segments' order. Rank `rank` of `ranks` holds an even share of the tokens;
  /// no padding. Throws InvalidArgument where there are fewer tokens than ranks, Internal where counts disagree.
  TokenLayout(std::vector<TokenSegment> segments, std::vector<TokenPosition> positions, int ranks, int rank);

  /// frames x rows x columns tokens (the patch grid): one segment "video", modulation row 0. Where the first
  /// `given_frames` frames are given and not denoised, they are a segment "given" before it, with row 1.
  static TokenLayout video(std::int64_t frames, std::int64_t rows, std::int64_t columns, int ranks, int rank,
                           std::int64_t given_frames = 0);

  std::int64_t tokens() const { return static_cast<std::int64_t>(positions_.size()); }
  std::span<const TokenSegment> segments() const { return segments_; }
  int ranks() const { return ranks_; }
  int rank() const { return rank_; }
  /// Tokens that a rank holds.
  Range share(int rank) const { return even_share(tokens(), ranks_, rank); }
  Range local() const { return share(rank_); }
  std::span<const TokenPosition> local_positions() const;

  /// The local tokens as runs of one modulation row each: run i uses row local_modulation_rows()[i].
  RowSegments local_runs() const { return {local_run_ends_}; }
  std::span<const int> local_modulation_rows() const { return local_run_rows_; }

 private:
  std::vector<TokenSegment> segments_;
  std::vector<TokenPosition> positions_;
  int ranks_;
  int rank_;
  std::vector<std::int64_t> local_run_ends_;
  std::vector<int> local_run_rows_;
};

}  // namespace wan
