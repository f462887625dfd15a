#include "tensor/tensor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace wan {
namespace {

TEST(DType, BF16RoundsToNearestEvenAndKeepsSpecials) {
  EXPECT_EQ(to_bf16(1.0f).bits, 0x3f80);
  EXPECT_EQ(to_bf16(std::bit_cast<float>(0x3f808000u)).bits, 0x3f80);  // tie: to even
  EXPECT_EQ(to_bf16(std::bit_cast<float>(0x3f818000u)).bits, 0x3f82);  // tie: to even, upwards
  EXPECT_EQ(to_bf16(-2.5f).bits, 0xc020);
  EXPECT_TRUE(std::isnan(to_float(to_bf16(std::numeric_limits<float>::quiet_NaN()))));
  EXPECT_EQ(to_float(to_bf16(std::numeric_limits<float>::infinity())),
            std::numeric_limits<float>::infinity());
}

TEST(DType, F16RoundTripsEveryFiniteValue) {
  for (std::uint32_t bits = 0; bits < 0x10000u; ++bits) {
    const F16 value{static_cast<std::uint16_t>(bits)};
    if (std::isnan(to_float(value))) continue;
    EXPECT_EQ(to_f16(to_float(value)).bits, bits);
  }
  EXPECT_EQ(to_f16(65520.0f).bits, 0x7c00);  // half way above the largest: infinity
  EXPECT_EQ(to_f16(65519.0f).bits, 0x7bff);
  EXPECT_EQ(to_f16(-0x1p-25f).bits, 0x8000);  // tie to even: minus zero
}

TEST(Shape, IndexesFromBothEndsAndRefusesNonsense) {
  const Shape shape{2, 3, 5};
  EXPECT_EQ(shape[0], 2);
  EXPECT_EQ(shape[-1], 5);
  EXPECT_EQ(shape.elements(), 30);
  EXPECT_EQ(shape.to_string(), "[2, 3, 5]");
  EXPECT_THROW(shape[3], Error);
  EXPECT_THROW((Shape{1, -1}), Error);
  EXPECT_THROW((Shape{1, 1, 1, 1, 1, 1, 1}), Error);
  EXPECT_THROW((Shape{1LL << 40, 1LL << 40}.elements()), Error);
}

TEST(TensorView, SlicesSelectsAndPermutesWithoutCopying) {
  const Tensor tensor(DType::kF32, {2, 3, 4});
  for (int i = 0; i < 24; ++i) tensor.as<float>()[i] = static_cast<float>(i);
  const TensorView slice = tensor.view().slice(1, 1, 3);
  EXPECT_EQ(slice.shape(), (Shape{2, 2, 4}));
  EXPECT_EQ(slice.as<float>()[0], 4.0f);
  EXPECT_FALSE(slice.is_contiguous());
  EXPECT_THROW(slice.reshape({16}), Error);
  const TensorView column = tensor.view().select(-1, 2);
  EXPECT_EQ(column.shape(), (Shape{2, 3}));
  EXPECT_EQ(column.as<float>()[column.stride(0) + 2 * column.stride(1)], 22.0f);
  const TensorView transposed = tensor.view().permute({2, 0, 1});
  EXPECT_EQ(transposed.shape(), (Shape{4, 2, 3}));
  EXPECT_EQ(transposed.stride(0), 1);
  EXPECT_THROW(tensor.view().permute({0, 0, 1}), Error);
  const TensorView backwards = tensor.view().flip(1);
  EXPECT_EQ(backwards.shape(), tensor.view().shape());
  EXPECT_EQ(backwards.as<float>()[0], 8.0f);
  EXPECT_EQ(backwards.slice(1, 1, 3).as<float>()[0], 4.0f);
  EXPECT_EQ(backwards.slice(1, 1, 3).flip(1).as<float>()[0], 0.0f);
  EXPECT_EQ(backwards.permute({1, 0, 2}).select(0, 2).select(0, 1).as<float>()[3], 15.0f);
  EXPECT_EQ(tensor.view().reshape({6, 4}).dim(0), 6);
  EXPECT_THROW(tensor.view().slice(0, 1, 3), Error);
  EXPECT_THROW(tensor.as<double>(), Error);
}

TEST(Tensor, OwnsAlignedMemoryAndMoves) {
  Tensor first(DType::kBF16, {3, 5});
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(first.view().data()) % 64, 0u);
  EXPECT_EQ(first.bytes(), 30u);
  const std::byte* data = first.view().data();
  const Tensor second = std::move(first);
  EXPECT_EQ(second.view().data(), data);
}

TEST(Tensor, IsEmptyOnceMovedFrom) {
  const auto expect_empty = [](const Tensor& tensor) {
    EXPECT_TRUE(tensor.empty());
    EXPECT_EQ(tensor.view().data(), nullptr);
    EXPECT_EQ(tensor.bytes(), 0u);
    EXPECT_EQ(tensor.shape(), Shape{});
  };
  Tensor first(DType::kBF16, {3, 5});
  Tensor second = std::move(first);
  expect_empty(first);  // NOLINT(bugprone-use-after-move): what is left is what this is about
  Tensor third(DType::kF32, {7});
  const std::byte* data = second.view().data();
  third = std::move(second);
  expect_empty(second);  // NOLINT(bugprone-use-after-move): likewise
  EXPECT_EQ(third.view().data(), data);
  EXPECT_EQ(third.bytes(), 30u);
}

}  // namespace
}  // namespace wan
