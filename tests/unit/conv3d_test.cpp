#include "ops/conv3d.h"

#include "support/compare.h"
#include "support/guarded.h"
#include "support/op_context.h"

namespace wan::test::conv3d_test {
namespace {

struct Case {
  Shape x;  // [T, H, W, I]
  std::int64_t outputs;
  std::array<int, 3> kernel;
  std::array<int, 3> stride = {1, 1, 1};
  SpatialPadding padding = {};
  Layout layout = Layout::kContiguous;
  DType weight = DType::kF32;
  DType type = DType::kF32;  // of x, residual and out
};

enum class Residual { kNone, kApart, kInPlace };

// f32: sums of up to 27 * 96 products: sqrt(2592) * 2^-24 = 3e-6 at worst, a third of that in practice. In TF32 each factor
// is rounded by 2^-11 of itself at most, which leaves some 3e-4 of the result. A bf16 result is rounded by 2^-8 at most.
double tolerance(const OpContext& ops, DType out) {
  if (out == DType::kBF16) return 0.00390625;
  return ops.traits().tf32_convolutions ? 1e-3 : 2e-6;
}

void check(const Case& c, Residual residual = Residual::kNone, bool with_bias = true) {
  OpContext ops;
  const Guarded x =
      random_tensor(c.type, c.x, 1, c.layout == Layout::kContiguous ? c.layout : Layout::kPaddedRows);
  const Guarded weight = random_tensor(c.weight, {c.outputs, c.kernel[0], c.kernel[1], c.kernel[2], c.x[3]},
                                       2, Layout::kContiguous, 0.2);
  const Guarded bias = random_tensor(DType::kF32, {c.outputs}, 3);
  Conv3dArgs args{x, weight, with_bias ? bias.view() : TensorView(), c.stride, c.padding, {}, {}};
  const Guarded out(c.type, conv3d_output_shape(args), c.layout);
  const Guarded other = random_tensor(c.type, out.view().shape(), 4, c.layout);
  if (residual == Residual::kApart) args.residual = other;
  if (residual == Residual::kInPlace) {
    fill_random(out, 5);
    args.residual = out;
  }
  const Tensor expected(DType::kF64, out.view().shape());
  args.out = expected;
  reference(args);
  args.out = out;
  conv3d(ops.ctx, args);
  EXPECT_TRUE(all_close(out, expected, tolerance(ops, c.type))) << c.x.to_string() << " to " << c.outputs;
  EXPECT_TRUE(out.intact());
}

TEST(Conv3d, MatchesTheCompositeOverChannelsAndKernels) {
  for (const std::int64_t in : {1, 3, 16, 33})
    for (const std::int64_t out : {1, 3, 16, 40})
      for (const std::array<int, 3>& kernel :
           {std::array<int, 3>{3, 3, 3}, {3, 1, 1}, {1, 3, 3}, {1, 1, 1}}) {
        const int pad = kernel[1] / 2;
        check({{4, 7, 9, in}, out, kernel, {1, 1, 1}, {pad, pad, pad, pad}});
      }
}

TEST(Conv3d, MatchesTheCompositeOverStridesAndPaddings) {
  check({{1, 9, 12, 16}, 16, {1, 3, 3}, {1, 2, 2}, {0, 1, 0, 1}});  // the encoder halves height and width
  check({{1, 8, 8, 5}, 7, {1, 3, 3}, {1, 2, 2}, {0, 1, 0, 1}});
  check({{5, 4, 3, 16}, 16, {3, 1, 1}, {2, 1, 1}});  // and time
  check({{7, 4, 3, 6}, 5, {3, 1, 1}, {2, 1, 1}});
  check({{3, 6, 5, 4}, 6, {3, 3, 3}, {1, 1, 1}, {2, 0, 0, 1}});
  check({{3, 6, 5, 3}, 6, {3, 3, 3}, {1, 1, 1}, {2, 0, 0, 1}});
  check({{3, 6, 5, 4}, 6, {2, 3, 2}, {1, 1, 1}, {0, 2, 1, 0}});
}

TEST(Conv3d, MatchesTheCompositeOverLayoutsResidualsAndBias) {
  for (const Layout layout : {Layout::kContiguous, Layout::kPaddedRows})
    for (const Residual residual : {Residual::kNone, Residual::kApart, Residual::kInPlace})
      for (const bool with_bias : {false, true}) {
        check({{3, 6, 7, 16}, 16, {3, 3, 3}, {1, 1, 1}, {1, 1, 1, 1}, layout}, residual, with_bias);
        check({{2, 5, 4, 16}, 24, {1, 1, 1}, {1, 1, 1}, {}, layout}, residual, with_bias);
        check({{2, 5, 4, 8}, 3, {1, 3, 3}, {1, 1, 1}, {1, 1, 1, 1}, layout}, residual, with_bias);
      }
}

TEST(Conv3d, MatchesTheCompositeAtModelSizes) {
  check({{3, 16, 16, 64}, 64, {3, 3, 3}, {1, 1, 1}, {1, 1, 1, 1}});
  check({{3, 10, 70, 32}, 16, {3, 3, 3}, {1, 1, 1}, {1, 1, 1, 1}});
  check({{3, 9, 40, 16}, 3, {3, 3, 3}, {1, 1, 1}, {1, 1, 1, 1}});
  check({{3, 6, 6, 96}, 96, {3, 3, 3}, {1, 1, 1}, {1, 1, 1, 1}});
}

TEST(Conv3d, TakesBf16Weights) {
  check({{3, 6, 7, 16}, 16, {3, 3, 3}, {1, 1, 1}, {1, 1, 1, 1}, Layout::kContiguous, DType::kBF16});
}

TEST(Conv3d, TakesBf16Frames) {
  for (const DType weight : {DType::kF32, DType::kBF16})
    for (const Residual residual : {Residual::kNone, Residual::kApart, Residual::kInPlace})
      for (const Layout layout : {Layout::kContiguous, Layout::kPaddedRows}) {
        check({{3, 6, 7, 16}, 16, {3, 3, 3}, {1, 1, 1}, {1, 1, 1, 1}, layout, weight, DType::kBF16},
              residual);
        check({{3, 5, 6, 8}, 5, {1, 3, 3}, {1, 2, 2}, {0, 1, 0, 1}, layout, weight, DType::kBF16}, residual);
        check({{3, 5, 6, 10}, 12, {3, 3, 3}, {1, 1, 1}, {1, 1, 1, 1}, layout, weight, DType::kBF16},
              residual);
      }
}

// Time layers: at the second of these shapes an engine of cuDNN's gave a wrong second frame.
TEST(Conv3d, TakesBf16FramesOverTimeAlone) {
  for (const Shape& x : {Shape{3, 16, 16, 64}, {4, 32, 32, 64}, {6, 8, 8, 32}})
    check({x, 64, {3, 1, 1}, {1, 1, 1}, {}, Layout::kContiguous, DType::kBF16, DType::kBF16});
}

TEST(Conv3d, SecondPassAllocatesNothing) {
  OpContext ops;
  const Guarded x = random_tensor(DType::kF32, {3, 8, 8, 16}, 1);
  const Guarded weight = random_tensor(DType::kF32, {16, 3, 3, 3, 16}, 2);
  const Guarded out(DType::kF32, {1, 8, 8, 16});
  const Conv3dArgs args{x, weight, {}, {1, 1, 1}, {1, 1, 1, 1}, {}, out};
  for (int pass = 0; pass < 2; ++pass) conv3d(ops.ctx, args);
  const int before = ops.scratch().allocations();
  conv3d(ops.ctx, args);
  EXPECT_EQ(ops.scratch().allocations(), before);
}

TEST(Conv3d, RefusesWhatItsContractDoesNotAllow) {
  OpContext ops;
  const Guarded x = random_tensor(DType::kF32, {3, 4, 4, 8}, 1);
  const Guarded weight = random_tensor(DType::kF32, {5, 3, 3, 3, 8}, 2);
  const Guarded out(DType::kF32, {1, 4, 4, 5});
  const Conv3dArgs good{x, weight, {}, {1, 1, 1}, {1, 1, 1, 1}, {}, out};
  EXPECT_NO_THROW(conv3d(ops.ctx, good));
  const auto refused = [&](auto&& change) {
    Conv3dArgs args = good;
    change(args);
    EXPECT_THROW(conv3d(ops.ctx, args), Error);
  };
  refused([](Conv3dArgs& a) { a.x = {}; });
  refused([](Conv3dArgs& a) { a.stride = {1, 0, 1}; });
  refused([](Conv3dArgs& a) { a.padding = {}; });  // then out is 2 x 2
  refused([](Conv3dArgs& a) { a.x = a.x.slice(0, 0, 2); });
  const Guarded narrow(DType::kF32, {5, 3, 3, 3, 7});
  refused([&](Conv3dArgs& a) { a.weight = narrow; });
  const Guarded bias(DType::kF32, {4});
  refused([&](Conv3dArgs& a) { a.bias = bias; });
  const Guarded residual(DType::kF32, {1, 4, 4, 4});
  refused([&](Conv3dArgs& a) { a.residual = residual; });
  const Guarded gaps(DType::kF32, {3, 4, 4, 8}, Layout::kPaddedInner);
  refused([&](Conv3dArgs& a) { a.x = gaps; });
}

}  // namespace
}  // namespace wan::test::conv3d_test
