// pointwise, row_reduction, row_softmax and depthwise_conv.

#include <cmath>
#include <limits>

#include "ops/depthwise_conv.h"
#include "ops/pointwise.h"
#include "ops/row_reduction.h"
#include "support/compare.h"
#include "support/guarded.h"
#include "support/op_context.h"

namespace wan::test::network_ops_test {
namespace {

constexpr PointwiseKind kOfTwo[] = {PointwiseKind::kAdd, PointwiseKind::kSub, PointwiseKind::kMul,
                                    PointwiseKind::kDiv, PointwiseKind::kMin, PointwiseKind::kMax};
constexpr PointwiseKind kOfOne[] = {PointwiseKind::kRelu,      PointwiseKind::kSigmoid,  PointwiseKind::kSiLU,
                                    PointwiseKind::kGelu,      PointwiseKind::kGeluTanh, PointwiseKind::kTanh,
                                    PointwiseKind::kErf,       PointwiseKind::kExp,      PointwiseKind::kNeg,
                                    PointwiseKind::kAbs,       PointwiseKind::kFloor,    PointwiseKind::kCeil,
                                    PointwiseKind::kReciprocal};

// A few roundings of f32 and of its functions.
constexpr double kPointTolerance = 1e-6;

void expect_pointwise(OpContext& ops, PointwiseKind kind, const TensorView& x, const TensorView& y,
                      const Guarded& out, const TensorView& out_view) {
  pointwise(ops.ctx, {kind, x, y, out_view});
  const Tensor expected(DType::kF32, out_view.shape());
  reference(PointwiseArgs{kind, x, y, expected});
  EXPECT_TRUE(all_close(out_view, expected, kPointTolerance)) << static_cast<int>(kind);
  EXPECT_TRUE(out.intact());
}

TEST(Pointwise, MatchesTheCompositeOverLayouts) {
  OpContext ops;
  for (const Layout layout : {Layout::kContiguous, Layout::kPaddedRows, Layout::kPaddedInner})
    for (const Shape& shape : {Shape{2, 3, 5, 7}, Shape{1, 17, 33, 2}, Shape{40, 1, 30, 60}}) {
      const Guarded x = random_tensor(DType::kF32, shape, 1, layout, 2.0);
      const Guarded y = random_tensor(DType::kF32, shape, 2, layout);
      for (const PointwiseKind kind : kOfTwo) {
        const Guarded out(DType::kF32, shape, layout);
        expect_pointwise(ops, kind, x, y, out, out);
        // Channels last on one side and on the result's.
        const Guarded turned =
            random_tensor(DType::kF32, {shape[0], shape[2], shape[3], shape[1]}, 3, layout);
        const Guarded turned_out(DType::kF32, {shape[0], shape[2], shape[3], shape[1]}, layout);
        expect_pointwise(ops, kind, x, turned.view().permute({0, 3, 1, 2}), turned_out,
                         turned_out.view().permute({0, 3, 1, 2}));
      }
      for (const PointwiseKind kind : kOfOne) {
        const Guarded out(DType::kF32, shape, layout);
        expect_pointwise(ops, kind, x, {}, out, out);
      }
    }
}

TEST(Pointwise, RepeatsAlongStridesOfZero) {
  OpContext ops;
  const Guarded x = random_tensor(DType::kF32, {3, 4, 50}, 1);
  const Guarded row = random_tensor(DType::kF32, {50}, 2);
  const Guarded column = random_tensor(DType::kF32, {4}, 3);
  const Shape shape{3, 4, 50};
  const TensorView rows(row.view().data(), DType::kF32, shape, {0, 0, 1}, Device{});
  const TensorView columns(column.view().data(), DType::kF32, shape, {0, 1, 0}, Device{});
  const TensorView one(row.view().data(), DType::kF32, shape, {0, 0, 0}, Device{});
  for (const PointwiseKind kind : kOfTwo)
    for (const auto& [a, b] : {std::pair<TensorView, TensorView>{x, rows},
                               {rows, x},
                               {x, columns},
                               {columns, rows},
                               {x, one},
                               {one, x}}) {
      const Guarded out(DType::kF32, shape);
      expect_pointwise(ops, kind, a, b, out, out);
    }
}

TEST(Pointwise, PowersRootsAndLogarithms) {
  OpContext ops;
  const Guarded x = random_tensor(DType::kF32, {500}, 1);
  const Guarded positive(DType::kF32, {500});
  pointwise(ops.ctx, {PointwiseKind::kAbs, x, {}, positive});
  const Guarded out(DType::kF32, {500});
  for (const PointwiseKind kind : {PointwiseKind::kSqrt, PointwiseKind::kLog})
    expect_pointwise(ops, kind, positive, {}, out, out);
  for (const float power : {2.0f, 0.5f, 3.0f}) {
    Tensor exponent(DType::kF32, {1});
    *exponent.as<float>() = power;
    const TensorView repeated(exponent.view().data(), DType::kF32, {500}, {0}, Device{});
    expect_pointwise(ops, PointwiseKind::kPow, positive, repeated, out, out);
  }
}

TEST(Pointwise, NanStaysNan) {
  OpContext ops;
  const float nan = std::numeric_limits<float>::quiet_NaN();
  Tensor x(DType::kF32, {3});
  Tensor y(DType::kF32, {3});
  const float first[] = {nan, 1.0f, nan};
  const float second[] = {1.0f, nan, nan};
  std::copy(std::begin(first), std::end(first), x.as<float>());
  std::copy(std::begin(second), std::end(second), y.as<float>());
  Tensor out(DType::kF32, {3});
  for (const PointwiseKind kind : {PointwiseKind::kMin, PointwiseKind::kMax, PointwiseKind::kAdd}) {
    pointwise(ops.ctx, {kind, x, y, out});
    for (int i = 0; i < 3; ++i)
      EXPECT_TRUE(std::isnan(out.as<float>()[i])) << static_cast<int>(kind) << " " << i;
  }
  pointwise(ops.ctx, {PointwiseKind::kRelu, x, {}, out});
  EXPECT_TRUE(std::isnan(out.as<float>()[0]));
  EXPECT_EQ(out.as<float>()[1], 1.0f);
}

TEST(RowReduction, MatchesTheComposite) {
  OpContext ops;
  for (const Shape& shape : {Shape{1, 1}, Shape{5, 3}, Shape{7, 32}, Shape{300, 80}, Shape{2, 5000}})
    for (const auto kind :
         {RowReductionKind::kSum, RowReductionKind::kMean, RowReductionKind::kMax, RowReductionKind::kMin})
      for (const double offset : {-3.0, 3.0}) {
        const Guarded x(DType::kF32, shape);
        fill_random(x, 1, 1.0, offset);
        const Guarded out(DType::kF32, {shape[0]});
        row_reduction(ops.ctx, {kind, x, out});
        const Tensor expected(DType::kF64, {shape[0]});
        reference(RowReductionArgs{kind, x, expected});
        EXPECT_TRUE(all_close(out, expected, 1e-6)) << shape.to_string();
        EXPECT_TRUE(out.intact());
      }
}

TEST(RowSoftmax, MatchesTheComposite) {
  OpContext ops;
  for (const Shape& shape : {Shape{1, 1}, Shape{5, 3}, Shape{70, 16}, Shape{300, 80}, Shape{2, 5000}}) {
    const Guarded x = random_tensor(DType::kF32, shape, 1, Layout::kContiguous, 20.0);
    const Guarded out(DType::kF32, shape);
    row_softmax(ops.ctx, {x, out});
    const Tensor expected(DType::kF64, shape);
    reference(RowSoftmaxArgs{x, expected});
    // exp(y) has y's rounding, 2^-24 of up to 80, as a relative error.
    EXPECT_TRUE(all_close(out, expected, 1e-5)) << shape.to_string();
    EXPECT_TRUE(out.intact());
    row_softmax(ops.ctx, {x, x});
    EXPECT_TRUE(all_close(x, expected, 1e-5)) << shape.to_string();
  }
}

struct Depthwise {
  Shape x;
  std::int64_t kernel;
  std::array<int, 2> stride, dilation;
  SpatialPadding padding;
};

TEST(DepthwiseConv, MatchesTheComposite) {
  OpContext ops;
  const Depthwise cases[] = {
      {{1, 5, 5, 3}, 1, {1, 1}, {1, 1}, {}},
      {{2, 8, 9, 5}, 3, {1, 1}, {1, 1}, {1, 1, 1, 1}},
      {{1, 20, 20, 48}, 7, {1, 1}, {1, 1}, {3, 3, 3, 3}},
      {{2, 13, 11, 32}, 3, {2, 2}, {1, 1}, {1, 1, 1, 1}},
      {{1, 13, 11, 33}, 3, {2, 1}, {2, 3}, {0, 2, 1, 3}},
  };
  for (const Depthwise& c : cases)
    for (const bool biased : {false, true}) {
      const Guarded x = random_tensor(DType::kF32, c.x, 1);
      const Guarded weight = random_tensor(DType::kF32, {c.kernel, c.kernel, c.x[3]}, 2);
      const Guarded bias = random_tensor(DType::kF32, {c.x[3]}, 3);
      DepthwiseConvArgs args{.x = x,
                             .weight = weight,
                             .bias = biased ? bias.view() : TensorView(),
                             .stride = c.stride,
                             .dilation = c.dilation,
                             .padding = c.padding,
                             .out = {}};
      const Guarded out(DType::kF32, depthwise_conv_output_shape(args));
      args.out = out;
      depthwise_conv(ops.ctx, args);
      const Tensor expected(DType::kF64, out.view().shape());
      args.out = expected;
      reference(args);
      EXPECT_TRUE(all_close(out, expected, 1e-6)) << c.x.to_string();
      EXPECT_TRUE(out.intact());
    }
}

}  // namespace
}  // namespace wan::test::network_ops_test
