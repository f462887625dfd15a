#include "ops/linear_group.h"

#include <cmath>

#include "support/compare.h"
#include "support/guarded.h"
#include "support/op_context.h"

namespace wan::test::linear_test {
namespace {

struct Case {
  std::int64_t rows, inner, columns;
};

// f32: rounding errors of K products add up like a random walk, sqrt(K) * 2^-24 of the result's size at most:
// 1.5e-6 for K = 640. A bf16 result is rounded by 2^-8 of itself at most; its bias, where that is rounded too, by as much of
// itself, which can be larger than the result.
double tolerance(const OpContext& ops, DType out) {
  if (out == DType::kF32) return 2e-6;
  return ops.traits().rounds_bias_to_bf16 ? 0.006 : 0.00390625;
}

/// Expects linear() to give the composite's result, within the tolerance of out's dtype.
void check(const Case& c, DType x_type, DType weight_type, DType out_type, Layout layout,
           ActivationKind activation, bool with_bias) {
  OpContext ops;
  const Guarded x = random_tensor(x_type, {c.rows, c.inner}, 1, layout);
  const Guarded weight = random_tensor(weight_type, {c.columns, c.inner}, 2, Layout::kContiguous, 0.2);
  const Guarded bias = random_tensor(DType::kF32, {c.columns}, 3);
  const Guarded out(out_type, {c.rows, c.columns}, layout);
  LinearArgs args{x, weight, with_bias ? bias.view() : TensorView(), out, activation};
  linear(ops.ctx, args);
  const Tensor expected(DType::kF64, out.view().shape());
  args.out = expected;
  reference(args);
  EXPECT_TRUE(all_close(out, expected, tolerance(ops, out_type)))
      << c.rows << " x " << c.inner << " x " << c.columns << " of " << dtype_name(x_type) << ", "
      << dtype_name(weight_type);
  EXPECT_TRUE(out.intact());
}

TEST(Linear, MatchesTheCompositeOverSizes) {
  for (const std::int64_t rows : {1, 2, 3, 17, 64, 101})
    for (const std::int64_t inner : {1, 7, 48, 129})
      for (const std::int64_t columns : {1, 5, 64, 99})
        check({rows, inner, columns}, DType::kF32, DType::kF32, DType::kF32, Layout::kContiguous,
              ActivationKind::kNone, true);
}

TEST(Linear, MatchesTheCompositeForOneRowOfWholePieces) {
  // A token of a language model: rows of the weight that are multiples of 16 bytes, shorter and longer than a warp takes at once.
  for (const DType weight : {DType::kF32, DType::kBF16})
    for (const DType x : {DType::kF32, DType::kBF16})
      for (const DType out : {DType::kF32, DType::kBF16})
        for (const Case& c :
             {Case{1, 8, 3}, Case{1, 40, 24}, Case{1, 1096, 5}, Case{1, 2200, 9}, Case{1, 9000, 3}})
          check(c, x, weight, out, Layout::kContiguous, ActivationKind::kSiLU, c.columns != 5);
}

TEST(LinearGroup, MatchesTheCompositeOfEach) {
  for (const std::int64_t rows : {1, 5})
    for (const DType weight_type : {DType::kF32, DType::kBF16})
      for (const DType last_out : {DType::kF32, DType::kBF16})
        for (const std::size_t count : {1, 2, 3})
          for (const std::int64_t inner : {33, 1096, 9000}) {
            OpContext ops;
            const Guarded x = random_tensor(DType::kBF16, {rows, inner}, 1);
            const std::array<std::int64_t, LinearGroupArgs::kMost> columns{7, 2, 5};
            std::vector<Guarded> weights, biases, outs;
            LinearGroupArgs args;
            for (std::size_t i = 0; i < count; ++i) {
              weights.push_back(random_tensor(weight_type, {columns[i], inner},
                                              2 + static_cast<std::uint32_t>(i), Layout::kContiguous, 0.2));
              biases.push_back(random_tensor(DType::kF32, {columns[i]}, 5 + static_cast<std::uint32_t>(i)));
              outs.emplace_back(i + 1 < count ? DType::kBF16 : last_out, Shape{rows, columns[i]});
            }
            for (std::size_t i = 0; i < count; ++i)
              args.products[i] = {x, weights[i], i == 1 ? TensorView() : biases[i].view(), outs[i],
                                  i == 2 ? ActivationKind::kSiLU : ActivationKind::kNone};
            linear_group(ops.ctx, args);
            for (std::size_t i = 0; i < count; ++i) {
              const Tensor expected(DType::kF64, outs[i].view().shape());
              LinearArgs product = args.products[i];
              product.out = expected;
              reference(product);
              EXPECT_TRUE(all_close(outs[i], expected, tolerance(ops, outs[i].view().dtype())))
                  << i << " of " << count << ", " << inner;
              EXPECT_TRUE(outs[i].intact());
            }
          }
}

TEST(LinearGroup, MatchesTheCompositeWithAGate) {
  for (const std::int64_t rows : {1, 5})
    for (const DType weight_type : {DType::kF32, DType::kBF16})
      for (const DType out_type : {DType::kF32, DType::kBF16})
        for (const ActivationKind gate : {ActivationKind::kSiLU, ActivationKind::kGeluTanh})
          for (const std::int64_t inner : {33, 1096, 9000}) {
            OpContext ops;
            const Guarded x = random_tensor(DType::kBF16, {rows, inner}, 1);
            const Guarded first = random_tensor(weight_type, {5, inner}, 2, Layout::kContiguous, 0.05);
            const Guarded second = random_tensor(weight_type, {5, inner}, 3, Layout::kContiguous, 0.05);
            const Guarded bias = random_tensor(DType::kF32, {5}, 4);
            const Guarded gated(out_type, {rows, 5});
            const Guarded out(out_type, {rows, 5});
            LinearGroupArgs args{
                .products = {LinearArgs{x, first, bias, gated}, LinearArgs{x, second, {}, out}},
                .gate = gate};
            linear_group(ops.ctx, args);
            const Tensor expected_gate(DType::kF64, {rows, 5});
            const Tensor expected(DType::kF64, {rows, 5});
            args.products[0].out = expected_gate;
            args.products[1].out = expected;
            args.for_each([](const LinearArgs& product) { reference(product); });
            reference(args.gating());
            // Of three roundings to bf16, where the gate is a kernel of its own.
            EXPECT_TRUE(all_close(out, expected, out_type == DType::kF32 ? 4e-6 : 0.01)) << inner;
            EXPECT_TRUE(out.intact() && gated.intact());
          }
}

TEST(LinearGroup, RefusesWhatItsContractDoesNotAllow) {
  OpContext ops;
  const Guarded x = random_tensor(DType::kF32, {1, 8}, 1);
  const Guarded weight(DType::kF32, {3, 8});
  const Guarded out(DType::kF32, {1, 3});
  const LinearArgs product{x, weight, {}, out};
  LinearArgs of_other_x = product;
  const Guarded other = random_tensor(DType::kF32, {1, 8}, 2);
  of_other_x.x = other;
  EXPECT_THROW(linear_group(ops.ctx, {{product, of_other_x}}), Error);
  EXPECT_THROW(linear_group(ops.ctx, {{product, {}, product}}), Error);
  EXPECT_THROW(linear_group(ops.ctx, {}), Error);
  EXPECT_THROW(linear_group(ops.ctx, {{product}, ActivationKind::kSiLU}), Error);
  EXPECT_THROW(linear_group(ops.ctx, {{product, product}, ActivationKind::kReLU}), Error);
}

TEST(Linear, MatchesTheCompositeOverTypesLayoutsAndEpilogues) {
  for (const DType weight : {DType::kF32, DType::kBF16})
    for (const DType x : {DType::kF32, DType::kBF16})
      for (const DType out : {DType::kF32, DType::kBF16})
        for (const Layout layout : {Layout::kContiguous, Layout::kPaddedRows})
          for (const auto activation :
               {ActivationKind::kNone, ActivationKind::kSiLU, ActivationKind::kGeluTanh,
                ActivationKind::kGelu, ActivationKind::kLeakyReLU, ActivationKind::kReLU})
            for (const bool with_bias : {false, true})
              for (const Case& c : {Case{1, 33, 20}, Case{37, 70, 45}, Case{6, 40, 24}})
                check(c, x, weight, out, layout, activation, with_bias);
}

TEST(Linear, MatchesTheCompositeAtTheDemosSizes) {
  check({320, 192, 640}, DType::kF32, DType::kF32, DType::kF32, Layout::kContiguous,
        ActivationKind::kGeluTanh, true);
  check({320, 640, 192}, DType::kF32, DType::kBF16, DType::kF32, Layout::kContiguous, ActivationKind::kNone,
        true);
}

TEST(Linear, EpiloguesHoldTheirAccuracyFarFromZero) {
  // 1 x 1 products: the activation alone, over values of every size that it treats differently.
  OpContext ops;
  constexpr std::int64_t kCount = 400;
  const Tensor x(DType::kF32, {kCount, 1});
  for (std::int64_t i = 0; i < kCount; ++i) x.as<float>()[i] = static_cast<float>(i - kCount / 2) * 0.1f;
  const Tensor one(DType::kF32, {1, 1});
  *one.as<float>() = 1.0f;
  for (const auto activation : {ActivationKind::kSiLU, ActivationKind::kGeluTanh, ActivationKind::kGelu}) {
    const Tensor out(DType::kF32, {kCount, 1});
    linear(ops.ctx, {x, one, {}, out, activation});
    const Tensor expected(DType::kF64, {kCount, 1});
    reference(LinearArgs{x, one, {}, expected, activation});
    for (std::int64_t i = 0; i < kCount; ++i) {
      // exp(-y) carries y's rounding error, 2^-24 |y|, as a relative one.
      const double value = expected.as<double>()[i];
      EXPECT_NEAR(out.as<float>()[i], value, 3e-6 * std::fabs(value) + 1e-14) << x.as<float>()[i];
    }
  }
}

TEST(Linear, NoRowsWriteNothing) {
  OpContext ops;
  const Guarded x = random_tensor(DType::kF32, {4, 8}, 1);
  const Guarded weight = random_tensor(DType::kF32, {3, 8}, 2);
  const Guarded out(DType::kF32, {0, 3});
  linear(ops.ctx, {x.view().slice(0, 2, 2), weight, {}, out});
  EXPECT_TRUE(out.intact());
}

TEST(Linear, SecondPassAllocatesNothing) {
  OpContext ops;
  const Guarded x = random_tensor(DType::kF32, {40, 64}, 1);
  const Guarded weight = random_tensor(DType::kBF16, {48, 64}, 2);
  const Guarded out(DType::kF32, {40, 48});
  for (int pass = 0; pass < 2; ++pass) linear(ops.ctx, {x, weight, {}, out});
  const int before = ops.scratch().allocations();
  linear(ops.ctx, {x, weight, {}, out});
  EXPECT_EQ(ops.scratch().allocations(), before);
}

TEST(Linear, RefusesWhatItsContractDoesNotAllow) {
  OpContext ops;
  const Guarded x = random_tensor(DType::kF32, {4, 8}, 1);
  const Guarded weight = random_tensor(DType::kF32, {3, 8}, 2);
  const Guarded out(DType::kF32, {4, 3});
  const Guarded bias(DType::kF32, {4});
  EXPECT_THROW(linear(ops.ctx, {{}, weight, {}, out}), Error);
  EXPECT_THROW(linear(ops.ctx, {x, x, {}, out}), Error);
  EXPECT_THROW(linear(ops.ctx, {x, weight, bias, out}), Error);
  EXPECT_THROW(linear(ops.ctx, {x, Guarded(DType::kI32, {3, 8}), {}, out}), Error);
  EXPECT_THROW(linear(ops.ctx, {x, Guarded(DType::kF32, {3, 8}, Layout::kPaddedRows), {}, out}), Error);
  const Guarded square(DType::kF32, {8, 8});
  EXPECT_THROW(linear(ops.ctx, {square.view().permute({1, 0}), weight, {}, Guarded(DType::kF32, {8, 3})}),
               Error);
}

}  // namespace
}  // namespace wan::test::linear_test
