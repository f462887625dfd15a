// layer_norm, rms_norm, rms_norm_rope and channel_norm.

#include <cmath>

#include "ops/channel_norm.h"
#include "ops/layer_norm.h"
#include "ops/rms_norm.h"
#include "ops/rms_norm_rope.h"
#include "support/compare.h"
#include "support/guarded.h"
#include "support/op_context.h"

namespace wan::test::norms_test {
namespace {

// f32: a few roundings of 2^-24 an element, and the statistics' own, which blockwise sums keep below that; over the widest rows
// in the narrowest vectors they are as much again.
// bf16: a result is rounded by 2^-8 of itself at most.
double tolerance(DType out, std::int64_t width) {
  if (out == DType::kBF16) return 0.00390625;
  return width < 5120 ? 5e-7 : 7e-7;
}

constexpr DType kTypes[] = {DType::kF32, DType::kBF16};
// One vector or less, one more, several and a part, and past the rows for which threads are started.
const Shape kShapes[] = {{1, 1},   {3, 5},     {7, 16},   {4, 17},   {2, 48},
                         {5, 129}, {300, 192}, {3, 1544}, {2, 5120}, {2, 5128}};

template <typename Args>
void check(OpContext& ops, void (*op)(ExecContext&, const Args&), Args args, const Guarded& out,
           double allowed) {
  const Tensor expected(DType::kF64, out.view().shape());
  args.out = expected;
  reference(args);
  args.out = out;
  op(ops.ctx, args);
  EXPECT_TRUE(all_close(out, expected, allowed)) << out.view().shape().to_string();
  EXPECT_TRUE(out.intact());
}

template <typename Args>
void check(OpContext& ops, void (*op)(ExecContext&, const Args&), const Args& args, const Guarded& out) {
  check(ops, op, args, out, tolerance(out.view().dtype(), args.x.dim(args.x.rank() - 1)));
}

TEST(LayerNorm, MatchesTheComposite) {
  OpContext ops;
  for (const Shape& shape : kShapes) {
    if (shape[1] == 1) continue;  // the variance of one value is 0: only eps is left
    for (const DType out_type : kTypes) {
      const Guarded x = random_tensor(DType::kF32, shape, 1);
      const Guarded a = random_tensor(DType::kF32, {shape[1]}, 2);
      const Guarded b = random_tensor(DType::kF32, {shape[1]}, 3);
      const Guarded out(out_type, shape);
      LayerNormArgs plain{};
      plain.x = x;
      check(ops, layer_norm, plain, out);
      LayerNormArgs affine = plain;
      affine.weight = a;
      affine.bias = b;
      affine.eps = 0.01f;
      check(ops, layer_norm, affine, out);
      for (const std::vector<std::int64_t>& ends :
           {std::vector<std::int64_t>{shape[0]}, {1, shape[0]}, {0, shape[0] / 2, shape[0]}}) {
        const auto count = static_cast<std::int64_t>(ends.size());
        const Guarded scale = random_tensor(DType::kF32, {count, shape[1]}, 4, Layout::kPaddedRows);
        const Guarded shift = random_tensor(DType::kF32, {count, shape[1]}, 5, Layout::kPaddedRows);
        LayerNormArgs modulated = plain;
        modulated.scale = scale;
        modulated.shift = shift;
        modulated.segments = {ends};
        check(ops, layer_norm, modulated, out);
      }
    }
  }
}

TEST(LayerNorm, TakesManySegments) {
  OpContext ops;
  std::vector<std::int64_t> ends;
  for (std::int64_t end = 0; end <= 80; end += 2) ends.push_back(end);  // the first is empty
  const auto count = static_cast<std::int64_t>(ends.size());
  const Guarded x = random_tensor(DType::kF32, {80, 40}, 1);
  const Guarded scale = random_tensor(DType::kF32, {count, 40}, 2);
  const Guarded shift = random_tensor(DType::kF32, {count, 40}, 3);
  const Guarded out(DType::kF32, {80, 40});
  LayerNormArgs args{};
  args.x = x;
  args.scale = scale;
  args.shift = shift;
  args.segments = {ends};
  check(ops, layer_norm, args, out);
}

TEST(LayerNorm, TwoPassesKeepSmallVariancesOnALargeMean) {
  OpContext ops;
  const Guarded x(DType::kF32, {3, 200});
  fill_random(x, 1, 0.01, 100.0);  // E[x^2] - E[x]^2 in f32 would be off by more than the variance itself
  const Guarded out(DType::kF32, {3, 200});
  LayerNormArgs args{};
  args.x = x;
  // The mean is known to 2^-24 * 100 or so, 6e-4 of the deviation; the composite sees the same f32 input.
  check(ops, layer_norm, args, out, 1e-3);
}

TEST(LayerNorm, WorksInPlace) {
  OpContext ops;
  const Guarded x = random_tensor(DType::kF32, {5, 37}, 1);
  LayerNormArgs args{};
  args.x = x;
  const Tensor expected(DType::kF64, {5, 37});
  args.out = expected;
  reference(args);
  args.out = x;
  layer_norm(ops.ctx, args);
  EXPECT_TRUE(all_close(x, expected, 5e-7));
}

TEST(LayerNorm, RefusesWhatItsContractDoesNotAllow) {
  OpContext ops;
  const Guarded x = random_tensor(DType::kF32, {4, 8}, 1);
  const Guarded out(DType::kF32, {4, 8});
  const Guarded row(DType::kF32, {8});
  const Guarded table(DType::kF32, {2, 8});
  const std::int64_t ends[] = {1, 4};
  const std::int64_t falling[] = {4, 1};
  const std::int64_t short_of[] = {1, 3};
  LayerNormArgs good{};
  good.x = x;
  good.out = out;
  good.scale = table;
  good.shift = table;
  good.segments = {ends};
  EXPECT_NO_THROW(layer_norm(ops.ctx, good));
  const auto refused = [&](auto&& change) {
    LayerNormArgs args = good;
    change(args);
    EXPECT_THROW(layer_norm(ops.ctx, args), Error);
  };
  refused([&](LayerNormArgs& a) { a.segments = {falling}; });
  refused([&](LayerNormArgs& a) { a.segments = {short_of}; });
  refused([&](LayerNormArgs& a) { a.segments = {std::span(ends, 1)}; });
  refused([&](LayerNormArgs& a) { a.shift = {}; });
  refused([&](LayerNormArgs& a) { a.weight = row, a.bias = row; });
  refused([&](LayerNormArgs& a) { a.scale = {}, a.shift = {}, a.weight = row; });
  refused([&](LayerNormArgs& a) { a.out = table; });
  const Guarded half(DType::kBF16, {4, 8});
  refused([&](LayerNormArgs& a) { a.x = half; });
}

TEST(RmsNorm, MatchesTheComposite) {
  OpContext ops;
  for (const Shape& shape : kShapes)
    for (const DType x_type : kTypes)
      for (const DType weight_type : kTypes)
        for (const DType out_type : kTypes)
          for (const Layout layout : {Layout::kContiguous, Layout::kPaddedRows}) {
            const Guarded x = random_tensor(x_type, shape, 1, layout);
            const Guarded weight = random_tensor(weight_type, {shape[1]}, 2);
            const Guarded out(out_type, shape, layout);
            check(ops, rms_norm, RmsNormArgs{x, weight, 1e-3f, {}}, out);
          }
}

TEST(RmsNorm, WorksInPlace) {
  OpContext ops;
  const Guarded x = random_tensor(DType::kF32, {5, 37}, 1);
  const Guarded weight = random_tensor(DType::kF32, {37}, 2);
  const Tensor expected(DType::kF64, {5, 37});
  reference(RmsNormArgs{x, weight, 1e-6f, expected});
  rms_norm(ops.ctx, {x, weight, 1e-6f, x});
  EXPECT_TRUE(all_close(x, expected, 5e-7));
}

TEST(RmsNorm, AddsABranchBefore) {
  OpContext ops;
  for (const Shape& shape : kShapes)
    for (const DType x_type : kTypes)
      for (const DType branch_type : kTypes) {
        const Guarded x = random_tensor(x_type, shape, 1);
        const Guarded branch = random_tensor(branch_type, shape, 2);
        const Guarded weight = random_tensor(DType::kF32, {shape[1]}, 3);
        const Guarded out(DType::kF32, shape);
        const Guarded expected_x = random_tensor(x_type, shape, 1);
        const Tensor expected(DType::kF64, shape);
        reference(RmsNormArgs{expected_x, weight, 1e-6f, expected, branch});
        rms_norm(ops.ctx, {x, weight, 1e-6f, out, branch});
        EXPECT_TRUE(all_close(x, expected_x, x_type == DType::kF32 ? 1e-6 : 0.00390625));
        // A sum in bf16 may be rounded to either side.
        EXPECT_TRUE(all_close(out, expected, x_type == DType::kF32 ? 1e-6 : 0.00390625));
        EXPECT_TRUE(x.intact() && out.intact());
      }
}

TEST(RmsNorm, RefusesWhatItsContractDoesNotAllow) {
  OpContext ops;
  const Guarded x = random_tensor(DType::kF32, {4, 8}, 1);
  const Guarded weight(DType::kF32, {8});
  EXPECT_THROW(rms_norm(ops.ctx, {x, Guarded(DType::kF32, {7}), 1e-6f, x}), Error);
  EXPECT_THROW(rms_norm(ops.ctx, {x, weight, 1e-6f, Guarded(DType::kF32, {8, 4})}), Error);
  EXPECT_THROW(rms_norm(ops.ctx, {x, weight, 1e-6f, Guarded(DType::kF16, {4, 8})}), Error);
  EXPECT_THROW(rms_norm(ops.ctx, {x, {}, 1e-6f, x}), Error);
  const Guarded out(DType::kF32, {4, 8});
  EXPECT_THROW(rms_norm(ops.ctx, {x, weight, 1e-6f, x, out}), Error);
  EXPECT_THROW(rms_norm(ops.ctx, {x, weight, 1e-6f, out, Guarded(DType::kF32, {4, 7})}), Error);
}

/// cos and sin of angles that differ by row and pair.
Tensor rope_table(std::int64_t rows, std::int64_t pairs) {
  Tensor table(DType::kF32, {rows, pairs, 2});
  for (std::int64_t i = 0; i < rows * pairs; ++i) {
    table.as<float>()[2 * i] = std::cos(0.37f * static_cast<float>(i));
    table.as<float>()[2 * i + 1] = std::sin(0.37f * static_cast<float>(i));
  }
  return table;
}

TEST(RmsNormRope, MatchesTheComposite) {
  OpContext ops;
  struct Heads {
    std::int64_t rows, heads, width;
  };
  for (const Heads& h : {Heads{1, 1, 2},
                         {3, 2, 6},
                         {5, 3, 16},
                         {4, 2, 22},
                         {130, 4, 48},
                         {2, 2, 128},
                         {3, 12, 128},
                         {2, 40, 128}})
    for (const DType x_type : kTypes)
      for (const DType weight_type : kTypes)
        for (const DType out_type : kTypes)
          for (const Layout layout : {Layout::kContiguous, Layout::kPaddedRows}) {
            const Guarded x = random_tensor(x_type, {h.rows, h.heads * h.width}, 1, layout);
            const Guarded weight = random_tensor(weight_type, {h.heads * h.width}, 2);
            const Tensor table = rope_table(h.rows, h.width / 2);
            const Guarded out(out_type, {h.rows, h.heads, h.width}, layout);
            check(ops, rms_norm_rope, RmsNormRopeArgs{x, weight, 1e-6f, table, {}}, out);
          }
}

TEST(RmsNormRope, WorksInPlace) {
  OpContext ops;
  const Guarded x = random_tensor(DType::kF32, {5, 40}, 1);
  const Guarded weight = random_tensor(DType::kF32, {40}, 2);
  const Tensor table = rope_table(5, 10);
  const Tensor expected(DType::kF64, {5, 2, 20});
  reference(RmsNormRopeArgs{x, weight, 1e-6f, table, expected});
  const TensorView heads = x.view().reshape({5, 2, 20});
  rms_norm_rope(ops.ctx, {x, weight, 1e-6f, table, heads});
  EXPECT_TRUE(all_close(heads, expected, 5e-7));
}

TEST(RmsNormRope, RefusesWhatItsContractDoesNotAllow) {
  OpContext ops;
  const Guarded x = random_tensor(DType::kF32, {4, 24}, 1);
  const Guarded weight(DType::kF32, {24});
  const Tensor table = rope_table(4, 6);
  const Guarded out(DType::kF32, {4, 2, 12});
  EXPECT_NO_THROW(rms_norm_rope(ops.ctx, {x, weight, 1e-6f, table, out}));
  EXPECT_THROW(rms_norm_rope(ops.ctx, {x, weight, 1e-6f, rope_table(4, 5), out}), Error);
  EXPECT_THROW(rms_norm_rope(ops.ctx, {x, weight, 1e-6f, rope_table(3, 6), out}), Error);
  EXPECT_THROW(rms_norm_rope(ops.ctx, {x, weight, 1e-6f, table, Guarded(DType::kF32, {4, 3, 12})}), Error);
  EXPECT_THROW(rms_norm_rope(ops.ctx, {x, weight, 1e-6f, table, Guarded(DType::kF32, {4, 8, 3})}), Error);
  EXPECT_THROW(rms_norm_rope(ops.ctx, {x, weight, 1e-6f, table,
                                       Guarded(DType::kF32, {4, 2, 12}, Layout::kPaddedInner)}),
               Error);
}

// The VAEs' channels, and the widths about which a kernel deals rows out differently.
const Shape kPixels[] = {{3, 5},   {7, 16},   {4, 17},   {37, 96},  {5, 129},  {1, 128},   {71, 136},
                         {9, 160}, {19, 256}, {13, 384}, {5, 1024}, {3, 1032}, {300, 192}, {3, 1544}};

TEST(ChannelNorm, MatchesTheComposite) {
  OpContext ops;
  for (const Shape& shape : kPixels)
    for (const auto activation : {ActivationKind::kNone, ActivationKind::kSiLU})
      for (const DType x_type : kTypes)
        for (const DType out_type : kTypes)
          for (const Layout layout : {Layout::kContiguous, Layout::kPaddedRows}) {
            const Guarded x = random_tensor(x_type, shape, 1, layout);
            const Guarded gamma = random_tensor(DType::kF32, {shape[1]}, 2);
            const Guarded out(out_type, shape, layout);
            check(ops, channel_norm, ChannelNormArgs{x, gamma, activation, {}}, out);
          }
}

// Rows of frames inside of larger ones.
TEST(ChannelNorm, MatchesTheCompositeInGroupsOfRows) {
  OpContext ops;
  for (const Shape& shape : {Shape{3, 7, 5}, Shape{2, 37, 96}, Shape{65, 3, 256}, Shape{1, 4, 1544}})
    for (const DType x_type : kTypes)
      for (const DType out_type : kTypes)
        for (const Layout layout : {Layout::kContiguous, Layout::kPaddedRows, Layout::kPaddedInner}) {
          const Guarded x = random_tensor(x_type, shape, 1);
          const Guarded gamma = random_tensor(DType::kF32, {shape[2]}, 2);
          const Guarded out(out_type, shape, layout);
          check(ops, channel_norm, ChannelNormArgs{x, gamma, ActivationKind::kSiLU, {}}, out);
          const Guarded strided = random_tensor(x_type, shape, 3, layout);
          const Guarded packed(out_type, shape);
          check(ops, channel_norm, ChannelNormArgs{strided, gamma, ActivationKind::kNone, {}}, packed);
        }
  // More groups than a launch of CUDA's takes.
  const Guarded x = random_tensor(DType::kF32, {65'537, 2, 8}, 1, Layout::kPaddedRows);
  const Guarded out(DType::kF32, x.view().shape());
  check(ops, channel_norm, ChannelNormArgs{x, random_tensor(DType::kF32, {8}, 2), ActivationKind::kNone, {}},
        out);
}

TEST(ChannelNorm, ZeroPixelsStayZero) {
  OpContext ops;
  const Tensor x(DType::kF32, {2, 16});
  std::fill_n(x.as<float>(), 32, 0.0f);
  const Guarded gamma = random_tensor(DType::kF32, {16}, 2);
  const Guarded out(DType::kF32, {2, 16});
  channel_norm(ops.ctx, {x, gamma, ActivationKind::kSiLU, out});
  EXPECT_TRUE(all_close(out, x, 0.0));
}

TEST(ChannelNorm, WorksInPlace) {
  OpContext ops;
  const Guarded x = random_tensor(DType::kF32, {9, 40}, 1);
  const Guarded gamma = random_tensor(DType::kF32, {40}, 2);
  const Tensor expected(DType::kF64, {9, 40});
  reference(ChannelNormArgs{x, gamma, ActivationKind::kSiLU, expected});
  channel_norm(ops.ctx, {x, gamma, ActivationKind::kSiLU, x});
  EXPECT_TRUE(all_close(x, expected, 5e-7));
}

TEST(ChannelNorm, RefusesWhatItsContractDoesNotAllow) {
  OpContext ops;
  const Guarded x = random_tensor(DType::kF32, {4, 8}, 1);
  const Guarded gamma(DType::kF32, {8});
  EXPECT_THROW(channel_norm(ops.ctx, {x, Guarded(DType::kBF16, {8}), ActivationKind::kNone, x}), Error);
  EXPECT_THROW(channel_norm(ops.ctx, {x, gamma, ActivationKind::kNone, Guarded(DType::kF32, {4, 9})}), Error);
  EXPECT_THROW(channel_norm(ops.ctx, {{}, gamma, ActivationKind::kNone, x}), Error);
  const TensorView four = x.view().reshape({1, 2, 2, 8});
  EXPECT_THROW(channel_norm(ops.ctx, {four, gamma, ActivationKind::kNone, four}), Error);
}

}  // namespace
}  // namespace wan::test::norms_test
