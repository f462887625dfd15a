// The comparator that every other numeric test relies on: what it must refuse.

#include "support/compare.h"

#include <cmath>
#include <limits>
#include <vector>

namespace wan::test {
namespace {

Tensor tensor(const std::vector<float>& values) {
  Tensor t(DType::kF32, {static_cast<std::int64_t>(values.size())});
  std::copy(values.begin(), values.end(), t.as<float>());
  return t;
}

TEST(Compare, EqualPassesAtZeroTolerance) {
  EXPECT_TRUE(all_close(tensor({1.0f, -2.0f, 0.0f}), tensor({1.0f, -2.0f, 0.0f}), 0.0));
  EXPECT_TRUE(all_close(tensor({0.0f, 0.0f}), tensor({0.0f, -0.0f}), 0.0));
}

TEST(Compare, SeesDifferencesBetweenNegatives) {
  EXPECT_FALSE(all_close(tensor({-1.0f, -5.0f}), tensor({-1.0f, -2.0f}), 0.1));
  EXPECT_FALSE(all_close(tensor({-1.0f, -2.0f}), tensor({-1.0f, -5.0f}), 0.1));
  EXPECT_FALSE(all_close(tensor({-1.0f}), tensor({1.0f}), 0.5));
}

TEST(Compare, RelativeRmsIsTheQuotientOfNorms) {
  const Difference d = difference(tensor({3.0f, 4.0f, 0.5f}), tensor({3.0f, 4.0f, 0.0f}));
  EXPECT_DOUBLE_EQ(d.relative_rms, 0.1);
  EXPECT_DOUBLE_EQ(d.max_abs, 0.5);
  EXPECT_EQ(d.worst, 2);
  EXPECT_TRUE(all_close(tensor({3.0f, 4.0f, 0.5f}), tensor({3.0f, 4.0f, 0.0f}), 0.1001));
  EXPECT_FALSE(all_close(tensor({3.0f, 4.0f, 0.5f}), tensor({3.0f, 4.0f, 0.0f}), 0.0999));
  EXPECT_FALSE(all_close(tensor({3.0f, 4.0f, 0.5f}), tensor({3.0f, 4.0f, 0.0f}), 0.2, 0.4));
}

TEST(Compare, ZerosAreNoExcuse) {
  EXPECT_FALSE(all_close(tensor({1e-30f}), tensor({0.0f}), 1e3));
  EXPECT_FALSE(all_close(tensor({0.0f, 0.0f}), tensor({1.0f, 1.0f}), 0.99));
}

TEST(Compare, NanAndInfinityNeverPass) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float bad : {nan, infinity, -infinity}) {
    EXPECT_FALSE(all_close(tensor({1.0f, bad}), tensor({1.0f, 1.0f}), 1e30));
    EXPECT_FALSE(all_close(tensor({1.0f, 1.0f}), tensor({1.0f, bad}), 1e30));
    EXPECT_FALSE(all_close(tensor({bad}), tensor({bad}), 1e30));
  }
}

TEST(Compare, ShapesMustBeEqual) {
  const Tensor four = tensor({1.0f, 1.0f, 1.0f, 1.0f});
  EXPECT_FALSE(all_close(four, tensor({1.0f, 1.0f, 1.0f}), 1.0));
  EXPECT_FALSE(all_close(four.view().reshape({2, 2}), four, 1.0));
  EXPECT_FALSE(all_close(TensorView(), four, 1.0));
  EXPECT_TRUE(all_close(four.view().reshape({2, 2}), four.view().reshape({2, 2}), 0.0));
}

TEST(Compare, ReadsThroughStrides) {
  const Tensor a = tensor({1.0f, 2.0f, 3.0f, 4.0f, 5.0f, 6.0f});
  const Tensor b = tensor({1.0f, 4.0f, 2.0f, 5.0f, 3.0f, 6.0f});
  EXPECT_TRUE(all_close(a.view().reshape({2, 3}).permute({1, 0}), b.view().reshape({3, 2}), 0.0));
  EXPECT_FALSE(all_close(a.view().reshape({2, 3}).permute({1, 0}), a.view().reshape({3, 2}), 0.0));
}

}  // namespace
}  // namespace wan::test
