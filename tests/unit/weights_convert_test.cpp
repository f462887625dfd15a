#include "weights/convert.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

namespace wan {
namespace {

// Bits that exercise every exponent, both signs, ties, subnormals, infinities and NaN.
std::vector<float> awkward_floats() {
  std::vector<float> values{0.0f,
                            -0.0f,
                            1.0f,
                            -2.5f,
                            65504.0f,
                            65519.0f,
                            65520.0f,
                            1e-8f,
                            -6e-8f,
                            0x1p-24f,
                            0x1p-25f,
                            0x1.8p-24f,
                            3.4e38f,
                            std::numeric_limits<float>::infinity(),
                            -std::numeric_limits<float>::infinity(),
                            std::numeric_limits<float>::quiet_NaN(),
                            std::numeric_limits<float>::denorm_min()};
  std::mt19937 random(7);
  for (int i = 0; i < 20000; ++i)
    values.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(random())));
  for (std::uint32_t half = 0; half < 0x10000u; half += 3)  // exact halves, and ties between them
    values.push_back(
        std::nextafter(to_float(F16{static_cast<std::uint16_t>(half)}), half % 2 == 0 ? 1e9f : -1e9f));
  for (std::uint32_t upper = 0; upper < 0x10000u; upper += 7)  // ties between bf16 values
    values.push_back(std::bit_cast<float>((upper << 16) | 0x8000u));
  return values;
}

TensorView view_of(std::vector<float>& values) {
  return {values.data(), DType::kF32, {static_cast<std::int64_t>(values.size())}};
}

TEST(Convert, RoundsEveryFloatAsTheScalarFunctionsDo) {
  std::vector<float> values = awkward_floats();
  const Tensor half(DType::kF16, view_of(values).shape());
  const Tensor brain(DType::kBF16, view_of(values).shape());
  convert(view_of(values), half);
  convert(view_of(values), brain);
  for (std::size_t i = 0; i < values.size(); ++i) {
    ASSERT_EQ(half.as<F16>()[i].bits, to_f16(values[i]).bits) << std::hexfloat << values[i];
    ASSERT_EQ(brain.as<BF16>()[i].bits, to_bf16(values[i]).bits) << std::hexfloat << values[i];
  }
}

TEST(Convert, WidensEveryHalfExactly) {
  const Tensor half(DType::kF16, {0x10000});
  for (std::uint32_t bits = 0; bits < 0x10000u; ++bits)
    half.as<F16>()[bits] = {static_cast<std::uint16_t>(bits)};
  const Tensor wide(DType::kF32, {0x10000});
  convert(half.view(), wide);
  for (std::uint32_t bits = 0; bits < 0x10000u; ++bits) {
    const float expected = to_float(F16{static_cast<std::uint16_t>(bits)});
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(wide.as<float>()[bits])) << bits;
    } else {
      ASSERT_EQ(std::bit_cast<std::uint32_t>(wide.as<float>()[bits]), std::bit_cast<std::uint32_t>(expected))
          << bits;
    }
  }
}

TEST(Convert, TakesStridesOffsetsAndDoubles) {
  std::vector<double> base(2 * 3 * 5 * 7);
  for (std::size_t i = 0; i < base.size(); ++i) base[i] = static_cast<double>(i) + 0.25;
  const TensorView whole(base.data(), DType::kF64, {2, 3, 5, 7});
  const TensorView views[] = {whole,
                              whole.permute({3, 1, 0, 2}),
                              whole.slice(3, 2, 6),
                              whole.select(1, 1).slice(1, 1, 4),
                              whole.permute({0, 2, 1, 3}),
                              whole.slice(2, 0, 1)};
  for (const TensorView& view : views) {
    const Tensor copy(DType::kF32, view.shape());
    convert(view, copy);
    // The same walk, one index after the other.
    std::vector<std::int64_t> index(static_cast<std::size_t>(view.rank()), 0);
    for (std::int64_t i = 0; i < copy.elements(); ++i) {
      std::int64_t offset = 0;
      for (int axis = 0; axis < view.rank(); ++axis)
        offset += index[static_cast<std::size_t>(axis)] * view.stride(axis);
      ASSERT_EQ(copy.as<float>()[i], static_cast<float>(view.as<double>()[offset]))
          << view.shape().to_string() << i;
      for (int axis = view.rank() - 1; axis >= 0; --axis) {
        if (++index[static_cast<std::size_t>(axis)] < view.dim(axis)) break;
        index[static_cast<std::size_t>(axis)] = 0;
      }
    }
  }
}

TEST(Convert, ReadsUnalignedBytesAndLargeTensorsOnSeveralThreads) {
  constexpr std::int64_t kCount = (1 << 18) + 17;  // enough for threads, and no multiple of a chunk
  std::vector<std::byte> bytes(kCount * 4 + 1);
  for (std::int64_t i = 0; i < kCount; ++i) {
    const auto value = static_cast<float>(i % 251);
    std::memcpy(bytes.data() + 1 + 4 * i, &value, sizeof(value));
  }
  TensorEntry entry;
  entry.shape = {kCount};
  entry.strides = {1};
  entry.storage = std::span<const std::byte>(bytes).subspan(1);
  for (const int threads : {0, 1, 3}) {
    const Tensor same(DType::kF32, entry.shape);
    const Tensor brain(DType::kBF16, entry.shape);
    convert(entry, same, {.threads = threads});
    convert(entry, brain, {.threads = threads});
    for (std::int64_t i = 0; i < kCount; ++i) {
      ASSERT_EQ(same.as<float>()[i], static_cast<float>(i % 251));
      ASSERT_EQ(to_float(brain.as<BF16>()[i]), static_cast<float>(i % 251));  // up to 256: exact in bf16
    }
  }
}

TEST(Convert, TakesAPartOfAnyView) {
  std::vector<float> values(4 * 5 * 6);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  const TensorView whole(values.data(), DType::kF32, {4, 5, 6});
  for (const TensorView& view :
       {whole, whole.permute({2, 0, 1}), whole.slice(1, 1, 4), whole.slice(2, 2, 4)}) {
    const Tensor all(DType::kBF16, view.shape());
    convert(view, all);
    const std::int64_t elements = view.elements();
    for (std::int64_t first = 0; first <= elements; first += 7) {
      for (const std::int64_t count :
           {std::int64_t{0}, std::int64_t{1}, std::int64_t{13}, elements - first}) {
        if (first + count > elements) continue;
        const Tensor part(DType::kBF16, {count});
        convert_part(view, first, part);
        for (std::int64_t i = 0; i < count; ++i)
          ASSERT_EQ(part.as<BF16>()[i].bits, all.as<BF16>()[first + i].bits) << first << " + " << i;
      }
    }
    EXPECT_THROW(convert_part(view, elements - 2, Tensor(DType::kBF16, {3})), Error);
    EXPECT_THROW(convert_part(view, -1, Tensor(DType::kBF16, {3})), Error);
  }
}

TEST(Convert, RefusesOtherShapesAndPairs) {
  const Tensor a(DType::kF32, {2, 3});
  const Tensor b(DType::kF32, {3, 2});
  const Tensor integers(DType::kI64, {2, 3});
  EXPECT_THROW(convert(a.view(), b), Error);
  EXPECT_THROW(convert(a.view(), b.view().permute({1, 0})), Error);
  EXPECT_THROW(convert(integers.view(), a), Error);
  EXPECT_NO_THROW(convert(integers.view(), Tensor(DType::kI64, {2, 3})));
}

}  // namespace
}  // namespace wan
