// Token layouts, rotary tables and timestep sinusoids.

#include <gtest/gtest.h>

#include <cmath>

#include "nn/rotary_embedding.h"
#include "nn/timestep_embedding.h"
#include "support/expect_error.h"

namespace wan::test {
namespace {

TEST(TokenLayout, VideoTokensStandInPatchGridOrder) {
  const TokenLayout layout = TokenLayout::video(2, 3, 4, 1, 0);
  EXPECT_EQ(layout.tokens(), 24);
  const auto positions = layout.local_positions();
  EXPECT_EQ(positions[0], (TokenPosition{0, 0, 0}));
  EXPECT_EQ(positions[5], (TokenPosition{0, 1, 1}));
  EXPECT_EQ(positions[23], (TokenPosition{1, 2, 3}));
  ASSERT_EQ(layout.local_runs().count(), 1);
  EXPECT_EQ(layout.local_runs().ends[0], 24);
}

TEST(TokenLayout, RanksShareEveryTokenOnceWithoutPadding) {
  std::int64_t next = 0;
  for (int rank = 0; rank < 4; ++rank) {
    const TokenLayout layout = TokenLayout::video(1, 3, 5, 4, rank);  // 15 tokens over 4 ranks: 4, 4, 4, 3
    EXPECT_EQ(layout.local().begin, next);
    next = layout.local().end;
    EXPECT_EQ(static_cast<std::int64_t>(layout.local_positions().size()), layout.local().size());
    EXPECT_EQ(layout.local_runs().ends.back(), layout.local().size());
  }
  EXPECT_EQ(next, 15);
}

TEST(TokenLayout, SegmentsBecomeRunsOfTheLocalTokens) {
  const std::vector<TokenPosition> positions(10, TokenPosition{0, 0, 0});
  const auto make = [&](int rank) {
    return TokenLayout({{"pinned", 4, 1}, {"video", 5, 0}, {"reference", 1, 1}}, positions, 3, rank);
  };
  const TokenLayout first = make(0);  // tokens 0 to 3: the pinned segment alone
  ASSERT_EQ(first.local_runs().count(), 1);
  EXPECT_EQ(first.local_modulation_rows()[0], 1);
  const TokenLayout last = make(2);  // tokens 7 to 9: two of the video, the reference
  ASSERT_EQ(last.local_runs().count(), 2);
  EXPECT_EQ(last.local_runs().ends[0], 2);
  EXPECT_EQ(last.local_runs().ends[1], 3);
  EXPECT_EQ(last.local_modulation_rows()[0], 0);
  EXPECT_EQ(last.local_modulation_rows()[1], 1);
}

TEST(TokenLayout, RefusesMoreRanksThanTokensAndWrongCounts) {
  expect_error(ErrorCode::kInvalidArgument, "fewer ranks", [] { TokenLayout::video(1, 1, 2, 3, 0); });
  expect_error(ErrorCode::kInternal, "segments hold 3", [] {
    TokenLayout({{"video", 3, 0}}, std::vector<TokenPosition>(4), 1, 0);
  });
}

TEST(RopeTable, GivesEachAxisItsPairsAndFrequencies) {
  // A head of 14 has 7 pairs: 2 for the column, 2 for the row, 3 for time.
  const TokenPosition position{3, 5, -7};
  const Tensor table(DType::kF32, {1, 7, 2});
  fill_rope_table({&position, 1}, 14, table);
  const auto expect_pair = [&](int pair, double angle) {
    EXPECT_NEAR(table.as<float>()[2 * pair], std::cos(angle), 1e-7) << pair;
    EXPECT_NEAR(table.as<float>()[2 * pair + 1], std::sin(angle), 1e-7) << pair;
  };
  for (int i = 0; i < 3; ++i) expect_pair(i, 3 * std::pow(10000.0, -i / 3.0));
  for (int i = 0; i < 2; ++i) expect_pair(3 + i, 5 * std::pow(10000.0, -i / 2.0));
  for (int i = 0; i < 2; ++i) expect_pair(5 + i, -7 * std::pow(10000.0, -i / 2.0));
}

TEST(TimestepEmbedding, HoldsCosinesThenSines) {
  const Tensor out(DType::kF32, {2, 6});
  const double timesteps[] = {0.0, 999.0};
  fill_timestep_embedding(timesteps, out);
  for (int i = 0; i < 3; ++i) {
    const double frequency = std::pow(10000.0, -i / 3.0);
    EXPECT_EQ(out.as<float>()[i], 1.0f);
    EXPECT_EQ(out.as<float>()[3 + i], 0.0f);
    EXPECT_NEAR(out.as<float>()[6 + i], std::cos(999.0 * frequency), 1e-7);
    EXPECT_NEAR(out.as<float>()[9 + i], std::sin(999.0 * frequency), 1e-7);
  }
}

}  // namespace
}  // namespace wan::test
