// causal_attention and rotate_halves.

#include <cmath>

#include "ops/causal_attention.h"
#include "ops/rotate_halves.h"
#include "support/compare.h"
#include "support/guarded.h"
#include "support/op_context.h"

namespace wan::test::language_ops_test {
namespace {

struct CausalCase {
  std::int64_t queries, keys, heads, key_heads, width;
  DType dtype = DType::kF32;
  Layout layout = Layout::kContiguous;
};

/// f32: a score's rounding error, some 1e-7 of scores of size 3 or so, becomes a relative error of its weight. A bf16 result is
/// rounded by 2^-8 of itself at most.
double result_tolerance(DType dtype) {
  return dtype == DType::kF32 ? 2e-6 : 0.00390625;
}

void check_causal(const CausalCase& c) {
  OpContext ops;
  const Guarded q = random_tensor(c.dtype, {c.queries, c.heads, c.width}, 1, c.layout);
  const Guarded k = random_tensor(c.dtype, {c.keys, c.key_heads, c.width}, 2, c.layout);
  const Guarded v = random_tensor(c.dtype, {c.keys, c.key_heads, c.width}, 3, c.layout);
  const Guarded out(c.dtype, {c.queries, c.heads, c.width}, c.layout);
  CausalAttentionArgs args{q, k, v, 1.0f / std::sqrt(static_cast<float>(c.width)), out};
  causal_attention(ops.ctx, args);
  const Tensor expected(DType::kF64, out.view().shape());
  args.out = expected;
  reference(args);
  EXPECT_TRUE(all_close(out, expected, result_tolerance(c.dtype)))
      << c.queries << " queries, " << c.keys << " keys, " << c.heads << " heads of " << c.width << " on "
      << c.key_heads;
  EXPECT_TRUE(out.intact());
}

TEST(CausalAttention, MatchesTheCompositeOverSizes) {
  for (const std::int64_t queries : {1, 3, 7, 8, 64, 65, 131})
    for (const std::int64_t before : {0, 1, 63, 140})
      for (const std::int64_t width : {7, 16}) check_causal({queries, queries + before, 3, 3, width});
}

TEST(CausalAttention, MatchesTheCompositeOverSharedHeadsLayoutsAndTypes) {
  for (const std::int64_t sharing : {1, 2, 7, 9})
    for (const Layout layout : {Layout::kContiguous, Layout::kPaddedRows, Layout::kPaddedInner})
      for (const DType dtype : {DType::kF32, DType::kBF16})
        for (const std::int64_t queries : {1, 70})
          check_causal({queries, 90, 2 * sharing, 2, 24, dtype, layout});
}

TEST(CausalAttention, MatchesTheCompositeAtModelSizes) {
  check_causal({1, 700, 28, 4, 128});                // a token of Qwen2.5 7B
  check_causal({1, 700, 14, 2, 128, DType::kBF16});  // the same heads, fewer
  check_causal({100, 150, 9, 3, 64});                // SmolLM2
  check_causal({2, 300, 1, 1, 200});
}

TEST(CausalAttention, TakesOtherTypesOfQueriesAndResult) {
  OpContext ops;
  for (const std::int64_t queries : {1, 20})
    for (const DType type : {DType::kF32, DType::kBF16}) {
      const Guarded q = random_tensor(DType::kF32, {queries, 4, 24}, 1);
      const Guarded k = random_tensor(DType::kBF16, {50, 2, 24}, 2);
      const Guarded v = random_tensor(DType::kBF16, {50, 2, 24}, 3);
      const Guarded out(type, {queries, 4, 24});
      causal_attention(ops.ctx, {q, k, v, 0.2f, out});
      const Tensor expected(DType::kF64, {queries, 4, 24});
      reference(CausalAttentionArgs{q, k, v, 0.2f, expected});
      EXPECT_TRUE(all_close(out, expected, result_tolerance(type)));
      EXPECT_TRUE(out.intact());
    }
}

TEST(CausalAttention, HoldsWithLargeScores) {
  OpContext ops;
  for (const std::int64_t queries : {1, 70}) {
    const Guarded q = random_tensor(DType::kF32, {queries, 2, 16}, 1, Layout::kContiguous, 30.0);
    const Guarded k = random_tensor(DType::kF32, {200, 2, 16}, 2, Layout::kContiguous, 30.0);
    const Guarded v = random_tensor(DType::kF32, {200, 2, 16}, 3);
    const Guarded out(DType::kF32, {queries, 2, 16});
    causal_attention(ops.ctx, {q, k, v, 0.25f, out});
    const Tensor expected(DType::kF64, {queries, 2, 16});
    reference(CausalAttentionArgs{q, k, v, 0.25f, expected});
    // Scores of a thousand are off by 1e-4, and so are the weights.
    EXPECT_TRUE(all_close(out, expected, 1e-3));
  }
}

TEST(CausalAttention, RefusesWhatItsContractDoesNotAllow) {
  OpContext ops;
  const Guarded q(DType::kF32, {4, 4, 8});
  const Guarded k(DType::kF32, {6, 2, 8});
  EXPECT_THROW(causal_attention(ops.ctx, {q, Guarded(DType::kF32, {6, 3, 8}), k, 1, q}), Error);
  EXPECT_THROW(
      causal_attention(ops.ctx, {q, Guarded(DType::kF32, {3, 2, 8}), Guarded(DType::kF32, {3, 2, 8}), 1, q}),
      Error);
  EXPECT_THROW(causal_attention(ops.ctx, {q, k, Guarded(DType::kBF16, {6, 2, 8}), 1, q}), Error);
}

TEST(RotateHalves, MatchesTheCompositeAlsoInPlace) {
  OpContext ops;
  for (const std::int64_t rows : {1, 5, 40})
    for (const std::int64_t width : {2, 8, 34, 128})
      for (const Layout layout : {Layout::kContiguous, Layout::kPaddedRows, Layout::kPaddedInner})
        for (const DType type : {DType::kF32, DType::kBF16})
          for (const DType out_type : {DType::kF32, DType::kBF16}) {
            const Guarded x = random_tensor(type, {rows, 3, width}, 1, layout);
            const Guarded table = random_tensor(DType::kF32, {rows, width / 2, 2}, 2);
            const Guarded out(out_type, {rows, 3, width}, layout);
            const Tensor expected(DType::kF64, {rows, 3, width});
            reference(RotateHalvesArgs{x, table, expected});
            rotate_halves(ops.ctx, {x, table, out});
            // One product added to another, which may cancel.
            const double tolerance = out_type == DType::kF32 ? 1e-6 : 0.00390625;
            EXPECT_TRUE(all_close(out, expected, tolerance)) << width;
            EXPECT_TRUE(out.intact());
            const Guarded also = random_tensor(out_type, {rows, 2, width}, 4, layout);
            const Guarded also_expected = random_tensor(out_type, {rows, 2, width}, 4, layout);
            reference(RotateHalvesArgs{also_expected, table, also_expected});
            rotate_halves(ops.ctx, {x, table, out, also});
            EXPECT_TRUE(all_close(also, also_expected, tolerance)) << width;
            EXPECT_TRUE(all_close(out, expected, tolerance)) << width;
            EXPECT_TRUE(also.intact() && out.intact());
            if (type != out_type) continue;
            rotate_halves(ops.ctx, {x, table, x});
            EXPECT_TRUE(all_close(x, expected, tolerance)) << width;
            EXPECT_TRUE(x.intact());
          }
}

TEST(RotateHalves, RefusesWhatItsContractDoesNotAllow) {
  OpContext ops;
  const Guarded x(DType::kF32, {4, 2, 8});
  EXPECT_THROW(rotate_halves(ops.ctx, {x, Guarded(DType::kF32, {4, 8, 2}), x}), Error);
  EXPECT_THROW(rotate_halves(ops.ctx, {x, Guarded(DType::kBF16, {4, 4, 2}), x}), Error);
  EXPECT_THROW(rotate_halves(ops.ctx, {Guarded(DType::kF32, {4, 2, 7}), Guarded(DType::kF32, {4, 3, 2}), x}),
               Error);
}

}  // namespace
}  // namespace wan::test::language_ops_test
