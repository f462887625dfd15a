// average_down and duplicate_up: kernels against the composites, and the composites against numbers of the official
// modules (AvgDown3D and DupUp3D of Wan-Video/Wan2.2, wan/modules/vae2_2.py).

#include <numeric>
#include <vector>

#include "ops/channel_resample.h"
#include "support/compare.h"
#include "support/guarded.h"
#include "support/op_context.h"

namespace wan::test::channel_resample_test {
namespace {

struct Case {
  Shape fine;  // [T, H, W, C]
  ResampleFactors factors;
  std::int64_t channels;  // of the coarser video
};

// Groups and repeats that divide a cell, are divided by it, and neither; frames that fill their cells and do not.
const Case kCases[] = {
    {{1, 2, 2, 1}, {1, 2}, 1},     {{4, 6, 10, 5}, {2, 2}, 10},   {{1, 6, 10, 5}, {2, 2}, 10},
    {{3, 2, 14, 8}, {2, 2}, 8},    {{2, 4, 6, 12}, {1, 2}, 6},    {{2, 4, 6, 12}, {1, 1}, 12},
    {{2, 3, 5, 12}, {1, 1}, 4},    {{5, 6, 9, 4}, {3, 3}, 9},     {{4, 5, 7, 6}, {2, 1}, 3},
    {{1, 4, 4, 3}, {2, 2}, 24},    {{4, 2, 4, 3}, {1, 2}, 2},     {{4, 32, 34, 16}, {2, 2}, 32},
    {{3, 40, 36, 24}, {2, 2}, 48}, {{4, 64, 32, 33}, {1, 2}, 44},
};

Shape coarse_of(const Case& c) {
  return {(c.fine[0] + c.factors.time - 1) / c.factors.time, c.fine[1] / c.factors.space,
          c.fine[2] / c.factors.space, c.channels};
}

// A sum of at most 108 f32 values of either sign in another order, over the group's size.
constexpr double kMeanTolerance = 1e-6;

TEST(AverageDown, MatchesTheComposite) {
  OpContext ops;
  for (const Case& c : kCases) {
    const Guarded in = random_tensor(DType::kF32, c.fine, 1);
    const Guarded out(DType::kF32, coarse_of(c));
    const Guarded expected(DType::kF32, coarse_of(c));
    average_down(ops.ctx, {in, c.factors, out});
    reference(AverageDownArgs{in, c.factors, expected});
    EXPECT_TRUE(all_close(out, expected, kMeanTolerance)) << c.fine.to_string();
    EXPECT_TRUE(out.intact());
  }
}

TEST(DuplicateUp, MatchesTheComposite) {
  OpContext ops;
  for (const Case& c : kCases) {
    const Guarded in = random_tensor(DType::kF32, coarse_of(c), 1);
    const Guarded out(DType::kF32, c.fine);
    const Guarded expected(DType::kF32, c.fine);
    duplicate_up(ops.ctx, {in, c.factors, out});
    reference(DuplicateUpArgs{in, c.factors, expected});
    EXPECT_TRUE(all_close(out, expected, 0.0)) << c.fine.to_string();
    EXPECT_TRUE(out.intact());
  }
}

std::vector<float> values(const TensorView& view) {
  return {view.as<float>(), view.as<float>() + view.elements()};
}

void fill_counting(const TensorView& view) {
  std::iota(view.as<float>(), view.as<float>() + view.elements(), 0.0f);
}

// AvgDown3D(2, 4, factor_t=2, factor_s=2) of 0, 1, 2, ... in the order [T, H, W, C].
TEST(AverageDown, IsTheOfficialOne) {
  const Tensor one(DType::kF32, {1, 2, 2, 2});  // its cell's first frame is missing
  fill_counting(one);
  const Tensor of_one(DType::kF32, {1, 1, 1, 4});
  reference(AverageDownArgs{one, {.time = 2, .space = 2}, of_one});
  EXPECT_EQ(values(of_one), (std::vector<float>{0, 3, 0, 4}));

  const Tensor two(DType::kF32, {2, 2, 4, 2});
  fill_counting(two);
  const Tensor of_two(DType::kF32, {1, 1, 2, 4});
  reference(AverageDownArgs{two, {.time = 2, .space = 2}, of_two});
  EXPECT_EQ(values(of_two), (std::vector<float>{5, 21, 6, 22, 9, 25, 10, 26}));
}

// DupUp3D(4, 2, factor_t=2, factor_s=2), with and without first_chunk, of the same.
TEST(DuplicateUp, IsTheOfficialOne) {
  const Tensor in(DType::kF32, {1, 1, 1, 4});
  fill_counting(in);
  const Tensor both(DType::kF32, {2, 2, 2, 2});
  reference(DuplicateUpArgs{in, {.time = 2, .space = 2}, both});
  EXPECT_EQ(values(both), (std::vector<float>{0, 2, 0, 2, 0, 2, 0, 2, 1, 3, 1, 3, 1, 3, 1, 3}));
  const Tensor last(DType::kF32, {1, 2, 2, 2});
  reference(DuplicateUpArgs{in, {.time = 2, .space = 2}, last});
  EXPECT_EQ(values(last), (std::vector<float>{1, 3, 1, 3, 1, 3, 1, 3}));

  const Tensor halves(DType::kF32, {1, 2, 2, 2});  // two repeats: they change within a row's columns
  reference(DuplicateUpArgs{in, {.time = 1, .space = 2}, halves});
  EXPECT_EQ(values(halves), (std::vector<float>{0, 2, 0, 2, 1, 3, 1, 3}));
}

TEST(ChannelResample, TakesBf16) {
  OpContext ops;
  ops.ctx.require_fused = ops.traits().has_every_kernel;
  const ResampleFactors halves{.time = 2, .space = 2};
  const Guarded in = random_tensor(DType::kBF16, {3, 4, 6, 8}, 1);
  const Guarded down(DType::kBF16, {2, 2, 3, 16});
  const Guarded down_expected(DType::kBF16, {2, 2, 3, 16});
  const Guarded up(DType::kBF16, {3, 4, 6, 8});
  const Guarded up_expected(DType::kBF16, {3, 4, 6, 8});
  average_down(ops.ctx, {in, halves, down});
  reference(AverageDownArgs{in, halves, down_expected});
  duplicate_up(ops.ctx, {down, halves, up});
  reference(DuplicateUpArgs{down, halves, up_expected});
  EXPECT_TRUE(all_close(down, down_expected, 0.00390625));  // a result is rounded by 2^-8 at most
  EXPECT_TRUE(all_close(up, up_expected, 0.0));
  EXPECT_TRUE(down.intact() && up.intact());
}

TEST(ChannelResample, RefusesWhatItsContractDoesNotAllow) {
  OpContext ops;
  const ResampleFactors halves{.time = 2, .space = 2};
  const Guarded fine(DType::kF32, {4, 4, 6, 8});
  const Guarded coarse(DType::kF32, {2, 2, 3, 16});
  EXPECT_NO_THROW(average_down(ops.ctx, {fine, halves, coarse}));
  EXPECT_NO_THROW(duplicate_up(ops.ctx, {coarse, halves, fine}));
  EXPECT_THROW(average_down(ops.ctx, {fine, halves, Guarded(DType::kF32, {2, 2, 3, 15})}), Error);
  EXPECT_THROW(average_down(ops.ctx, {fine, halves, Guarded(DType::kF32, {3, 2, 3, 16})}), Error);
  EXPECT_THROW(average_down(ops.ctx, {Guarded(DType::kF32, {4, 5, 6, 8}), halves, coarse}), Error);
  EXPECT_THROW(average_down(ops.ctx, {fine, {.time = 0, .space = 2}, coarse}), Error);
  EXPECT_THROW(duplicate_up(ops.ctx, {Guarded(DType::kF32, {2, 2, 3, 15}), halves, fine}), Error);
  EXPECT_THROW(duplicate_up(ops.ctx, {coarse, halves, Guarded(DType::kF32, {2, 4, 6, 8})}), Error);
  EXPECT_THROW(duplicate_up(ops.ctx, {coarse, halves, Guarded(DType::kBF16, {4, 4, 6, 8})}), Error);
}

}  // namespace
}  // namespace wan::test::channel_resample_test
