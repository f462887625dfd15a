// activation, gated_activation, gated_residual, linear_combination and count_non_finite.

#include <cmath>
#include <limits>

#include "ops/activation.h"
#include "ops/finite.h"
#include "ops/gated_activation.h"
#include "ops/gated_residual.h"
#include "ops/linear_combination.h"
#include "support/compare.h"
#include "support/guarded.h"
#include "support/op_context.h"

namespace wan::test::elementwise_test {
namespace {

// f32: a few roundings of 2^-24 an element. bf16: a result is rounded by 2^-8 of itself at most.
double tolerance(DType out) {
  return out == DType::kF32 ? 3e-7 : 0.00390625;
}

constexpr DType kTypes[] = {DType::kF32, DType::kBF16};
constexpr std::pair<DType, DType> kTypePairs[] = {{DType::kF32, DType::kF32},
                                                  {DType::kF32, DType::kBF16},
                                                  {DType::kBF16, DType::kF32},
                                                  {DType::kBF16, DType::kBF16}};
// A part of a vector, one, several and a part, and enough for a second thread.
const Shape kShapes[] = {{1}, {3, 5}, {16}, {2, 3, 17}, {1024}, {150, 301}};

TEST(Activation, MatchesTheComposite) {
  OpContext ops;
  for (const Shape& shape : kShapes)
    for (const auto kind : {ActivationKind::kNone, ActivationKind::kSiLU, ActivationKind::kGeluTanh,
                            ActivationKind::kGelu, ActivationKind::kLeakyReLU, ActivationKind::kReLU})
      for (const DType x_type : kTypes)
        for (const DType out_type : kTypes) {
          const Guarded x = random_tensor(x_type, shape, 1, Layout::kContiguous, 3.0);
          const Guarded out(out_type, shape);
          activation(ops.ctx, {x, kind, out});
          const Tensor expected(DType::kF64, shape);
          reference(ActivationArgs{x, kind, expected});
          EXPECT_TRUE(all_close(out, expected, tolerance(out_type))) << shape.to_string();
          EXPECT_TRUE(out.intact());
        }
}

TEST(Activation, HoldsItsAccuracyFarFromZero) {
  OpContext ops;
  constexpr std::int64_t kCount = 1000;
  const Tensor x(DType::kF32, {kCount});
  for (std::int64_t i = 0; i < kCount; ++i) x.as<float>()[i] = 0.05f * static_cast<float>(i - kCount / 2);
  for (const auto kind : {ActivationKind::kSiLU, ActivationKind::kGeluTanh, ActivationKind::kGelu,
                          ActivationKind::kLeakyReLU, ActivationKind::kReLU}) {
    const Tensor out(DType::kF32, {kCount});
    activation(ops.ctx, {x, kind, out});
    for (std::int64_t i = 0; i < kCount; ++i) {
      const double expected = apply_activation(kind, static_cast<double>(x.as<float>()[i]));
      // Below -6 or so the double composite itself cancels in 1 + tanh; above, exp(-y) carries y's rounding
      // error, 2^-24 |y|, as a relative one.
      EXPECT_NEAR(out.as<float>()[i], expected, 3e-6 * std::fabs(expected) + 1e-14) << x.as<float>()[i];
    }
  }
}

TEST(Activation, ExtremesGiveNeitherNanNorTheWrongSign) {
  OpContext ops;
  const float nan = std::numeric_limits<float>::quiet_NaN();
  Tensor x(DType::kF32, {5});
  const float values[] = {-1e30f, -500.0f, 500.0f, 1e30f, nan};
  std::copy(std::begin(values), std::end(values), x.as<float>());
  const Tensor out(DType::kF32, {5});
  for (const auto kind : {ActivationKind::kSiLU, ActivationKind::kGeluTanh, ActivationKind::kGelu}) {
    activation(ops.ctx, {x, kind, out});
    EXPECT_NEAR(out.as<float>()[0], 0.0f, 1e-7f);
    EXPECT_NEAR(out.as<float>()[1], 0.0f, 1e-7f);
    EXPECT_EQ(out.as<float>()[2], 500.0f);
    EXPECT_EQ(out.as<float>()[3], 1e30f);
    EXPECT_TRUE(std::isnan(out.as<float>()[4]));
  }
}

TEST(Activation, WorksInPlaceAndRefusesGaps) {
  OpContext ops;
  const Guarded x = random_tensor(DType::kF32, {333}, 1);
  const Tensor expected(DType::kF64, {333});
  reference(ActivationArgs{x, ActivationKind::kSiLU, expected});
  activation(ops.ctx, {x, ActivationKind::kSiLU, x});
  EXPECT_TRUE(all_close(x, expected, 3e-7));
  const Guarded gaps(DType::kF32, {3, 4}, Layout::kPaddedRows);
  EXPECT_THROW(activation(ops.ctx, {gaps, ActivationKind::kSiLU, gaps}), Error);
  EXPECT_THROW(activation(ops.ctx, {x, ActivationKind::kSiLU, Guarded(DType::kF32, {332})}), Error);
  EXPECT_THROW(activation(ops.ctx, {Guarded(DType::kI32, {333}), ActivationKind::kSiLU, x}), Error);
}

TEST(GatedActivation, MatchesTheCompositeAlsoInPlace) {
  OpContext ops;
  for (const Shape& shape : kShapes)
    for (const DType type : kTypes)
      for (const DType out_type : kTypes) {
        const Guarded gate = random_tensor(type, shape, 1);
        const Guarded x = random_tensor(type, shape, 2);
        const Guarded out(out_type, shape);
        const Tensor expected(DType::kF64, shape);
        reference(GatedActivationArgs{gate, x, expected, ActivationKind::kSiLU});
        gated_activation(ops.ctx, {gate, x, out, ActivationKind::kSiLU});
        EXPECT_TRUE(all_close(out, expected, tolerance(out_type))) << shape.to_string();
        reference(GatedActivationArgs{gate, x, expected});
        gated_activation(ops.ctx, {gate, x, out});
        EXPECT_TRUE(all_close(out, expected, tolerance(out_type))) << shape.to_string();
        EXPECT_TRUE(out.intact());
        if (type != out_type) continue;
        const Guarded gate_copy = random_tensor(type, shape, 1);
        gated_activation(ops.ctx, {gate_copy, x, gate_copy});
        EXPECT_TRUE(all_close(gate_copy, expected, tolerance(out_type)));
        gated_activation(ops.ctx, {gate, x, x});
        EXPECT_TRUE(all_close(x, expected, tolerance(out_type)));
      }
}

TEST(GatedActivation, RefusesWhatItsContractDoesNotAllow) {
  OpContext ops;
  const Guarded x(DType::kF32, {4, 8});
  EXPECT_THROW(gated_activation(ops.ctx, {x, Guarded(DType::kF32, {8, 4}), x}), Error);
  EXPECT_THROW(gated_activation(ops.ctx, {{}, x, x}), Error);
  EXPECT_THROW(gated_activation(ops.ctx, {x, x, x, ActivationKind::kGelu}), Error);
  EXPECT_THROW(gated_activation(ops.ctx, {x, x, Guarded(DType::kF16, {4, 8})}), Error);
}

TEST(GatedResidual, MatchesTheComposite) {
  OpContext ops;
  for (const Shape& shape : {Shape{1, 1}, Shape{3, 5}, Shape{7, 33}, Shape{300, 192}})
    for (const auto& [x_type, y_type] : kTypePairs)
      for (const std::vector<std::int64_t>& ends :
           {std::vector<std::int64_t>{}, {shape[0]}, {shape[0] / 3, shape[0]}, {0, 1, shape[0]}}) {
        const auto count = static_cast<std::int64_t>(ends.size());
        const Guarded x = random_tensor(x_type, shape, 1);
        const Guarded y = random_tensor(y_type, shape, 2);
        const Guarded gate = random_tensor(DType::kF32, {count, shape[1]}, 3, Layout::kPaddedRows);
        GatedResidualArgs args{x, y, count > 0 ? gate.view() : TensorView(), {ends}};
        const Tensor expected = to_f64(x);
        GatedResidualArgs composite = args;
        composite.x = expected;
        reference(composite);
        gated_residual(ops.ctx, args);
        const double tolerance = x_type == DType::kF32 ? 2e-7 : 0.00390625;  // bf16: rounded by 2^-8 at most
        EXPECT_TRUE(all_close(x, expected, tolerance)) << shape.to_string() << ", segments " << count;
        EXPECT_TRUE(x.intact());
      }
}

TEST(GatedResidual, TakesManySegments) {
  OpContext ops;
  std::vector<std::int64_t> ends;
  for (std::int64_t end = 0; end <= 120; end += 3) ends.push_back(end);  // the first is empty
  const auto count = static_cast<std::int64_t>(ends.size());
  const Guarded x = random_tensor(DType::kF32, {120, 24}, 1);
  const Guarded y = random_tensor(DType::kF32, {120, 24}, 2);
  const Guarded gate = random_tensor(DType::kF32, {count, 24}, 3);
  const Tensor expected = to_f64(x);
  reference(GatedResidualArgs{expected, y, gate, {ends}});
  gated_residual(ops.ctx, {x, y, gate, {ends}});
  EXPECT_TRUE(all_close(x, expected, 2e-7));
}

TEST(GatedResidual, RefusesWhatItsContractDoesNotAllow) {
  OpContext ops;
  const Guarded x = random_tensor(DType::kF32, {4, 8}, 1);
  const Guarded gate = random_tensor(DType::kF32, {1, 8}, 2);
  const std::int64_t whole[] = {4};
  const std::int64_t beyond[] = {5};
  EXPECT_NO_THROW(gated_residual(ops.ctx, {x, x, gate, {whole}}));
  EXPECT_THROW(gated_residual(ops.ctx, {x, x, gate, {beyond}}), Error);
  EXPECT_THROW(gated_residual(ops.ctx, {x, x, gate, {}}), Error);
  EXPECT_THROW(gated_residual(ops.ctx, {x, gate, {}, {}}), Error);
  const Guarded integers(DType::kI32, {4, 8});
  EXPECT_THROW(gated_residual(ops.ctx, {integers, x, {}, {}}), Error);
}

TEST(LinearCombination, MatchesTheCompositeForEveryNumberOfTerms) {
  OpContext ops;
  for (const Shape& shape : kShapes) {
    std::vector<Guarded> inputs;
    for (std::uint32_t i = 0; i < 8; ++i) inputs.push_back(random_tensor(DType::kF32, shape, i + 1));
    for (std::size_t count = 1; count <= 8; ++count) {
      LinearCombinationArgs args;
      for (std::size_t i = 0; i < count; ++i)
        args.terms.push_back({0.7 * static_cast<double>(i) - 1.3, inputs[i].view()});
      const Tensor expected(DType::kF32, shape);
      args.out = expected;
      reference(args);
      const Guarded out(DType::kF32, shape);
      args.out = out;
      linear_combination(ops.ctx, args);
      // Up to 8 products and sums, each rounded by 2^-24; the coefficients too.
      EXPECT_TRUE(all_close(out, expected, 5e-7)) << count << " terms";
      EXPECT_TRUE(out.intact());
    }
  }
}

TEST(LinearCombination, WorksInPlaceAndRefusesWrongTerms) {
  OpContext ops;
  const Guarded x = random_tensor(DType::kF32, {77}, 1);
  const Guarded y = random_tensor(DType::kF32, {77}, 2);
  const Tensor expected(DType::kF32, {77});
  reference(LinearCombinationArgs{{{2.0, x}, {-0.5, y}}, expected});
  linear_combination(ops.ctx, {{{2.0, x}, {-0.5, y}}, x});
  EXPECT_TRUE(all_close(x, expected, 2e-7));
  EXPECT_THROW(linear_combination(ops.ctx, {{}, x}), Error);
  EXPECT_THROW(linear_combination(ops.ctx, {{{1.0, Guarded(DType::kF32, {76})}}, x}), Error);
  EXPECT_THROW(linear_combination(ops.ctx, {{{1.0, Guarded(DType::kBF16, {77})}}, x}), Error);
  const LinearCombinationArgs::Term term{1.0, y};
  EXPECT_THROW(linear_combination(ops.ctx, {std::vector(9, term), x}), Error);
}

TEST(CountNonFinite, CountsNanAndBothInfinitiesAnywhere) {
  OpContext ops;
  for (const DType type : kTypes)
    for (const std::int64_t n : {1, 15, 16, 17, 200001}) {
      const Guarded x = random_tensor(type, {n}, 1);
      store_element(x, {n / 3}, 3.0e38);  // large, but finite
      EXPECT_EQ(count_non_finite(ops.ctx, x), 0);
      store_element(x, {0}, std::numeric_limits<double>::quiet_NaN());
      EXPECT_EQ(count_non_finite(ops.ctx, x), 1);
      if (n == 1) continue;
      store_element(x, {n - 1}, std::numeric_limits<double>::infinity());
      store_element(x, {n / 2}, -std::numeric_limits<double>::infinity());
      EXPECT_EQ(count_non_finite(ops.ctx, x), 3);
    }
  EXPECT_THROW(count_non_finite(ops.ctx, Guarded(DType::kF32, {2, 3}, Layout::kPaddedRows)), Error);
}

}  // namespace
}  // namespace wan::test::elementwise_test
