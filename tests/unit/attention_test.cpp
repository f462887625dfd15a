#include "ops/attention.h"

#include <cmath>
#include <limits>

#include "ops/join_attention.h"
#include "support/compare.h"
#include "support/guarded.h"
#include "support/op_context.h"

namespace wan::test::attention_test {
namespace {

struct Case {
  std::int64_t queries, keys, heads, width;
  DType dtype = DType::kF32;
  Layout layout = Layout::kContiguous;
  bool bias = false;
  bool key_bias = false;
  double scale = 1.0;  // of the values of q and k
};

// f32: a score's rounding error, some 1e-7 of scores of size 3 or so, becomes a relative error of its weight.
// A bf16 result is rounded by 2^-8 of itself at most.
double tolerance(const Case& c) {
  return c.dtype == DType::kF32 ? 2e-6 : 0.00390625;
}

// Of scores that are sums of `width` products in f32, and are some units large.
constexpr double kLogSums = 2e-6;

void check(const Case& c, int threads = 2) {
  OpContext ops(threads);
  const Guarded q = random_tensor(c.dtype, {c.queries, c.heads, c.width}, 1, c.layout, c.scale);
  const Guarded k = random_tensor(c.dtype, {c.keys, c.heads, c.width}, 2, c.layout, c.scale);
  const Guarded v = random_tensor(c.dtype, {c.keys, c.heads, c.width}, 3, c.layout);
  const Guarded bias = random_tensor(DType::kF32, {c.heads, c.queries, c.keys}, 4);
  const Guarded key_bias = random_tensor(DType::kF32, {c.keys}, 5);
  const Guarded out(c.dtype, {c.queries, c.heads, c.width}, c.layout);
  const Guarded log_sums(DType::kF32, {c.heads, c.queries});
  AttentionArgs args{q,
                     k,
                     v,
                     1.0f / std::sqrt(static_cast<float>(c.width)),
                     c.bias ? bias.view() : TensorView(),
                     c.key_bias ? key_bias.view() : TensorView(),
                     out,
                     log_sums};
  attention(ops.ctx, args);
  const Tensor log_sums_expected(DType::kF64, log_sums.view().shape());
  const Tensor expected(DType::kF64, out.view().shape());
  args.out = expected;
  args.log_sums = log_sums_expected;
  reference(args);
  EXPECT_TRUE(all_close(out, expected, tolerance(c)))
      << c.queries << " queries, " << c.keys << " keys, " << c.heads << " heads of " << c.width;
  EXPECT_TRUE(out.intact());
  EXPECT_TRUE(all_close(log_sums, log_sums_expected, kLogSums))
      << c.queries << " queries, " << c.keys << " keys";
  EXPECT_TRUE(log_sums.intact());
  // They cost the result nothing.
  const Guarded alone(c.dtype, out.view().shape(), c.layout);
  args.out = alone;
  args.log_sums = {};
  attention(ops.ctx, args);
  EXPECT_TRUE(all_close(alone, out, 0));
}

TEST(Attention, MatchesTheCompositeOverSizes) {
  for (const std::int64_t queries : {1, 3, 16, 63, 64, 65, 130})
    for (const std::int64_t keys : {1, 5, 64, 67, 200})
      for (const std::int64_t width : {1, 7, 16, 48}) check({queries, keys, 3, width});
}

TEST(Attention, MatchesTheCompositeOverBiasesLayoutsAndTypes) {
  for (const bool bias : {false, true})
    for (const bool key_bias : {false, true})
      for (const Layout layout : {Layout::kContiguous, Layout::kPaddedRows, Layout::kPaddedInner})
        for (const DType dtype : {DType::kF32, DType::kBF16})
          check({70, 90, 2, 20, dtype, layout, bias, key_bias});
}

TEST(Attention, MatchesTheCompositeAtModelSizes) {
  check({320, 320, 4, 48});  // the demo's self-attention
  check({320, 512, 4, 48});  // and its cross-attention
  check({100, 150, 2, 128});
  check({64, 70, 1, 384});  // one head over a frame's pixels
}

TEST(Attention, MatchesTheCompositeForWideHeads) {
  // Wider than the kernels that hold a head in registers: one head of a VAE's channels.
  for (const DType dtype : {DType::kF32, DType::kBF16})
    for (const Layout layout : {Layout::kContiguous, Layout::kPaddedRows, Layout::kPaddedInner})
      for (const std::int64_t keys : {1, 33, 36})
        for (const std::int64_t width : {385, 400}) check({23, keys, 2, width, dtype, layout, true, true});
  check({20, 150, 1, 1024});
  check({20, 150, 1, 1024, DType::kBF16});
}

TEST(Attention, TakesMixedTypes) {
  OpContext ops;
  for (const std::int64_t width : {24, 392}) {
    const Guarded q = random_tensor(DType::kF32, {33, 2, width}, 1);
    const Guarded k = random_tensor(DType::kBF16, {50, 2, width}, 2);
    const Guarded v = random_tensor(DType::kF32, {50, 2, width}, 3);
    const float scale = 1.0f / std::sqrt(static_cast<float>(width));
    for (const DType type : {DType::kF32, DType::kBF16}) {
      const Guarded out(type, {33, 2, width});
      attention(ops.ctx, {q, k, v, scale, {}, {}, out});
      const Tensor expected(DType::kF64, {33, 2, width});
      reference(AttentionArgs{q, k, v, scale, {}, {}, expected});
      EXPECT_TRUE(all_close(out, expected, type == DType::kF32 ? 2e-6 : 0.00390625)) << width;
      EXPECT_TRUE(out.intact());
    }
  }
}

TEST(Attention, MatchesTheCompositeWhereTilesShareTheKeys) {
  // Keys and values beyond the cache, and tiles enough for the thread: several take each block of keys together.
  for (const Layout layout : {Layout::kContiguous, Layout::kPaddedInner})
    check({530, 1100, 1, 64, DType::kF32, layout, true, true}, /*threads=*/1);
}

TEST(Attention, HeadsOutsideTokensWork) {
  // [H, L, D] in memory: the head stride is the larger one.
  OpContext ops;
  const Guarded q = random_tensor(DType::kF32, {3, 40, 24}, 1);
  const Guarded k = random_tensor(DType::kF32, {3, 50, 24}, 2);
  const Guarded v = random_tensor(DType::kF32, {3, 50, 24}, 3);
  const Guarded out(DType::kF32, {3, 40, 24});
  const auto turned = [](const Guarded& t) { return t.view().permute({1, 0, 2}); };
  AttentionArgs args{turned(q), turned(k), turned(v), 0.2f, {}, {}, turned(out)};
  attention(ops.ctx, args);
  const Tensor expected(DType::kF64, {40, 3, 24});
  args.out = expected;
  reference(args);
  EXPECT_TRUE(all_close(turned(out), expected, 2e-6));
}

TEST(Attention, LargeScoresNeitherOverflowNorLoseTheMaximum) {
  // Scores up to several hundred, rising with the key index: each block of keys has a new maximum. Rounding
  // errors of the scores, 2^-24 of 500, are relative errors of the weights.
  for (const double scale : {8.0, 12.0}) {
    Case c{20, 300, 1, 16};
    c.scale = scale;
    OpContext ops;
    const Guarded q = random_tensor(DType::kF32, {c.queries, 1, c.width}, 1, Layout::kContiguous, scale);
    const Guarded k = random_tensor(DType::kF32, {c.keys, 1, c.width}, 2, Layout::kContiguous, scale);
    const Guarded v = random_tensor(DType::kF32, {c.keys, 1, c.width}, 3);
    const Guarded out(DType::kF32, {c.queries, 1, c.width});
    AttentionArgs args{q, k, v, 0.25f, {}, {}, out};
    attention(ops.ctx, args);
    const Tensor expected(DType::kF64, out.view().shape());
    args.out = expected;
    reference(args);
    EXPECT_TRUE(all_close(out, expected, 5e-5));
  }
}

TEST(Attention, MaskedKeysDoNotCount) {
  OpContext ops;
  for (const std::int64_t width : {16, 400}) {
    const Guarded q = random_tensor(DType::kF32, {10, 2, width}, 1);
    const Guarded k = random_tensor(DType::kF32, {200, 2, width}, 2);
    const Guarded v = random_tensor(DType::kF32, {200, 2, width}, 3);
    const float scale = 1.0f / std::sqrt(static_cast<float>(width));
    const Tensor mask(DType::kF32, {200});
    // The first 130 keys, two whole blocks among them, are masked.
    for (std::int64_t j = 0; j < 200; ++j)
      mask.as<float>()[j] = j < 130 ? -std::numeric_limits<float>::infinity() : 0.0f;
    const Guarded out(DType::kF32, {10, 2, width});
    attention(ops.ctx, {q, k, v, scale, {}, mask, out});
    const Tensor expected(DType::kF64, {10, 2, width});
    reference(
        AttentionArgs{q, k.view().slice(0, 130, 200), v.view().slice(0, 130, 200), scale, {}, {}, expected});
    EXPECT_TRUE(all_close(out, expected, 2e-6)) << width;
  }
}

TEST(Attention, AKeyWithBiasLogTwoCountsTwice) {
  OpContext ops;
  const Guarded q = random_tensor(DType::kF32, {5, 1, 8}, 1);
  const Guarded k = random_tensor(DType::kF32, {4, 1, 8}, 2);
  const Guarded v = random_tensor(DType::kF32, {4, 1, 8}, 3);
  const Tensor bias(DType::kF32, {3});
  std::fill_n(bias.as<float>(), 2, 0.0f);
  bias.as<float>()[2] = std::log(2.0f);
  for (int d = 0; d < 8; ++d)  // keys 2 and 3 are equal
    for (const Guarded* t : {&k, &v}) t->view().as<float>()[24 + d] = t->view().as<float>()[16 + d];
  const Guarded out(DType::kF32, {5, 1, 8});
  attention(ops.ctx, {q, k.view().slice(0, 0, 3), v.view().slice(0, 0, 3), 0.3f, {}, bias, out});
  const Tensor expected(DType::kF64, {5, 1, 8});
  reference(AttentionArgs{q, k, v, 0.3f, {}, {}, expected});
  EXPECT_TRUE(all_close(out, expected, 2e-6));
}

TEST(Attention, MemoryDoesNotGrowWithTheKeys) {
  OpContext ops;
  const auto capacity_for = [&](std::int64_t keys) {
    const Guarded q = random_tensor(DType::kF32, {64, 1, 8}, 1);
    const Guarded k = random_tensor(DType::kF32, {keys, 1, 8}, 2);
    const Guarded out(DType::kF32, {64, 1, 8});
    attention(ops.ctx, {q, k, k, 0.3f, {}, {}, out});
    return ops.scratch().capacity();
  };
  const std::size_t small = capacity_for(64);
  EXPECT_EQ(capacity_for(20000), small);
}

TEST(Attention, RefusesWhatItsContractDoesNotAllow) {
  OpContext ops;
  const Guarded q = random_tensor(DType::kF32, {4, 2, 8}, 1);
  const Guarded k = random_tensor(DType::kF32, {6, 2, 8}, 2);
  const Guarded out(DType::kF32, {4, 2, 8});
  const auto with = [&](const TensorView& keys, const TensorView& values, const TensorView& bias,
                        const TensorView& key_bias, const TensorView& result) {
    attention(ops.ctx, {q, keys, values, 1.0f, bias, key_bias, result});
  };
  EXPECT_NO_THROW(with(k, k, {}, {}, out));
  EXPECT_THROW(with(Guarded(DType::kF32, {6, 1, 8}), k, {}, {}, out), Error);
  EXPECT_THROW(with(k, Guarded(DType::kF32, {5, 2, 8}), {}, {}, out), Error);
  EXPECT_THROW(with(k, k, Guarded(DType::kF32, {2, 4, 5}), {}, out), Error);
  EXPECT_THROW(with(k, k, Guarded(DType::kBF16, {2, 4, 6}), {}, out), Error);
  EXPECT_THROW(with(k, k, {}, Guarded(DType::kF32, {4}), out), Error);
  EXPECT_THROW(with(k, k, {}, {}, Guarded(DType::kF32, {4, 2, 7})), Error);
  EXPECT_THROW(with(k.view().slice(0, 0, 0), k.view().slice(0, 0, 0), {}, {}, out), Error);
  for (const Guarded& sums : {Guarded(DType::kF32, {4, 2}), Guarded(DType::kBF16, {2, 4})})
    EXPECT_THROW(attention(ops.ctx, {q, k, k, 1.0f, {}, {}, out, sums}), Error);
}

TEST(JoinAttention, MatchesTheComposite) {
  OpContext ops;
  for (const DType type : {DType::kF32, DType::kBF16})
    for (const std::int64_t rows : {1, 3, 33})
      for (const std::int64_t heads : {1, 3})
        for (const std::int64_t width : {1, 7, 128, 384}) {
          const Shape sums{heads, rows};
          const Guarded out = random_tensor(DType::kF32, {rows, heads, width}, 1);
          const Guarded log_sums = random_tensor(DType::kF32, sums, 2, Layout::kContiguous, 20);
          const Guarded part = random_tensor(type, {rows, heads, width}, 3);
          const Guarded part_log_sums = random_tensor(DType::kF32, sums, 4, Layout::kContiguous, 20);
          const Tensor expected_out = to_f64(out);
          const Tensor expected_sums = to_f64(log_sums);
          reference(JoinAttentionArgs{expected_out, expected_sums, part, part_log_sums});
          join_attention(ops.ctx, {out, log_sums, part, part_log_sums});
          // The exponents are of numbers of some ten, rounded to f32.
          EXPECT_TRUE(all_close(out, expected_out, 5e-6)) << rows << ", " << heads << ", " << width;
          EXPECT_TRUE(all_close(log_sums, expected_sums, 2e-7));
          EXPECT_TRUE(out.intact());
          EXPECT_TRUE(log_sums.intact());
        }
}

TEST(JoinAttention, KeysInPartsGiveWhatAllOfThemGive) {
  OpContext ops;
  constexpr std::int64_t kQueries = 37;
  constexpr std::int64_t kKeys = 311;
  for (const double scale : {1.0, 6.0}) {  // the largest scores in any of the parts
    const Guarded q = random_tensor(DType::kF32, {kQueries, 3, 24}, 1, Layout::kContiguous, scale);
    const Guarded k = random_tensor(DType::kF32, {kKeys, 3, 24}, 2, Layout::kContiguous, scale);
    const Guarded v = random_tensor(DType::kF32, {kKeys, 3, 24}, 3);
    const Guarded out(DType::kF32, {kQueries, 3, 24});
    const Guarded log_sums(DType::kF32, {3, kQueries});
    const Guarded part(DType::kF32, {kQueries, 3, 24});
    const Guarded part_log_sums(DType::kF32, {3, kQueries});
    const std::int64_t ends[] = {0, 1, 150, 151, kKeys};
    for (int i = 0; i < 4; ++i) {
      const TensorView keys = k.view().slice(0, ends[i], ends[i + 1]);
      const TensorView values = v.view().slice(0, ends[i], ends[i + 1]);
      if (i == 0) {
        attention(ops.ctx, {q, keys, values, 0.2f, {}, {}, out, log_sums});
        continue;
      }
      attention(ops.ctx, {q, keys, values, 0.2f, {}, {}, part, part_log_sums});
      join_attention(ops.ctx, {out, log_sums, part, part_log_sums});
    }
    const Tensor expected(DType::kF64, {kQueries, 3, 24});
    const Tensor expected_sums(DType::kF64, {3, kQueries});
    reference(AttentionArgs{q, k, v, 0.2f, {}, {}, expected, expected_sums});
    EXPECT_TRUE(all_close(out, expected, 1e-5)) << scale;
    EXPECT_TRUE(all_close(log_sums, expected_sums, 2e-6)) << scale;
  }
}

TEST(JoinAttention, RefusesWhatItsContractDoesNotAllow) {
  OpContext ops;
  const Guarded out = random_tensor(DType::kF32, {4, 2, 8}, 1);
  const Guarded sums = random_tensor(DType::kF32, {2, 4}, 2);
  const Guarded part = random_tensor(DType::kBF16, {4, 2, 8}, 3);
  EXPECT_NO_THROW(join_attention(ops.ctx, {out, sums, part, sums}));
  EXPECT_THROW(join_attention(ops.ctx, {part, sums, part, sums}), Error);
  EXPECT_THROW(join_attention(ops.ctx, {out, sums, part, Guarded(DType::kF32, {4, 2})}), Error);
  EXPECT_THROW(join_attention(ops.ctx, {out, Guarded(DType::kBF16, {2, 4}), part, sums}), Error);
  EXPECT_THROW(join_attention(ops.ctx, {out, sums, Guarded(DType::kF32, {4, 2, 7}), sums}), Error);
}

}  // namespace
}  // namespace wan::test::attention_test
