// Tensors of more than 2^31 elements: the ends of what an index of 32 bits would miss.

#include <algorithm>

#include "gpu/device_values.h"
#include "ops/backend.h"

namespace wan::test {
namespace {

constexpr std::int64_t kWidth = 64;
constexpr std::int64_t kRows = (std::int64_t{1} << 31) / kWidth + 100;
constexpr std::int64_t kTail = 7;  // rows at the end that are not zero

class GpuLarge : public ::testing::Test {
 protected:
  void SetUp() override {
    constexpr std::int64_t kNeeded = 12'000'000'000;
    if (gpu_.backend->free_bytes() < kNeeded) GTEST_SKIP() << "needs 12 GB of free device memory";
    x_ = gpu_.empty(DType::kBF16, {kRows, kWidth});
    fill_zero(gpu_.ctx, x_);
    gpu_.backend->upload(tail_, last(x_));
  }
  static TensorView last(const TensorView& rows) { return rows.slice(0, kRows - kTail, kRows); }
  /// Everything but the last rows is zero: those at the start, and those where a 32-bit index of bytes or elements ends.
  void expect_zero_before(const TensorView& rows) {
    const Tensor zero(DType::kBF16, {100, kWidth});
    std::fill_n(zero.view().data(), zero.view().bytes(), std::byte{0});
    for (const std::int64_t row : {std::int64_t{0}, kRows / 2 - 50, kRows - kTail - 100})
      EXPECT_TRUE(all_close(gpu_.on_host(rows.slice(0, row, row + 100)), zero, 0.0)) << row;
  }

  GpuContext gpu_;
  Guarded tail_ = random_tensor(DType::kBF16, {kTail, kWidth}, 1);
  Tensor x_;
};

TEST_F(GpuLarge, ActivationReachesTheEnd) {
  activation(gpu_.ctx, {x_, ActivationKind::kSiLU, x_});
  const Tensor expected(DType::kF64, {kTail, kWidth});
  reference(ActivationArgs{tail_, ActivationKind::kSiLU, expected});
  EXPECT_TRUE(all_close(gpu_.on_host(last(x_)), expected, 0.00390625));
  expect_zero_before(x_);
}

TEST_F(GpuLarge, ChannelNormReachesTheEnd) {
  const Guarded gamma = random_tensor(DType::kF32, {kWidth}, 2);
  channel_norm(gpu_.ctx, {x_, gpu_.on_device(gamma), ActivationKind::kNone, x_});
  const Tensor expected(DType::kF64, {kTail, kWidth});
  reference(ChannelNormArgs{tail_, gamma, ActivationKind::kNone, expected});
  EXPECT_TRUE(all_close(gpu_.on_host(last(x_)), expected, 0.00390625));
  expect_zero_before(x_);
}

TEST_F(GpuLarge, CopiesReachTheEnd) {
  // Elements one by one, since neither side is dense in the other's order; then with a conversion.
  const Tensor turned = gpu_.empty(DType::kBF16, {kWidth, kRows});
  copy(gpu_.ctx, {x_, turned.view().permute({1, 0})});
  const Tensor back = gpu_.empty(DType::kF32, {kTail, kWidth});
  copy(gpu_.ctx, {last(turned.view().permute({1, 0})), back});
  EXPECT_TRUE(all_close(gpu_.on_host(back), tail_, 0.0));
}

TEST_F(GpuLarge, CountsToTheEnd) {
  const Guarded spoilt(DType::kBF16, {1, kWidth});
  std::fill_n(spoilt.view().data(), spoilt.view().bytes(), std::byte{0xff});  // a NaN in every element
  gpu_.backend->upload(spoilt, x_.view().slice(0, kRows - 1, kRows));
  EXPECT_EQ(count_non_finite(gpu_.ctx, x_), kWidth);
}

}  // namespace
}  // namespace wan::test
