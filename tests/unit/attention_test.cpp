#include "ops/attention.h"

#include <cmath>
#include <limits>

#include "support/compare.h"
#include "support/guarded.h"
#include "support/op_context.h"

namespace wan::test {
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

void check(const Case& c, int threads = 2) {
  OpContext ops(threads);
  const Guarded q = random_tensor(c.dtype, {c.queries, c.heads, c.width}, 1, c.layout, c.scale);
  const Guarded k = random_tensor(c.dtype, {c.keys, c.heads, c.width}, 2, c.layout, c.scale);
  const Guarded v = random_tensor(c.dtype, {c.keys, c.heads, c.width}, 3, c.layout);
  const Guarded bias = random_tensor(DType::kF32, {c.heads, c.queries, c.keys}, 4);
  const Guarded key_bias = random_tensor(DType::kF32, {c.keys}, 5);
  const Guarded out(c.dtype, {c.queries, c.heads, c.width}, c.layout);
  AttentionArgs args{q,
                     k,
                     v,
                     1.0f / std::sqrt(static_cast<float>(c.width)),
                     c.bias ? bias.view() : TensorView(),
                     c.key_bias ? key_bias.view() : TensorView(),
                     out};
  attention(ops.ctx, args);
  const Tensor expected(DType::kF64, out.view().shape());
  args.out = expected;
  reference(args);
  EXPECT_TRUE(all_close(out, expected, tolerance(c)))
      << c.queries << " queries, " << c.keys << " keys, " << c.heads << " heads of " << c.width;
  EXPECT_TRUE(out.intact());
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
}

}  // namespace
}  // namespace wan::test
