// The formats of packed weights against the libraries that define them: gguf's decoder and PyTorch's fp8 (tests/golden/formats).

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <numeric>

#include "base/mapped_file.h"
#include "tensor/unpack.h"
#include "weights/safetensors.h"

namespace wan {
namespace {

class Formats : public ::testing::Test {
 protected:
  const TensorEntry& find(const std::string& name) const {
    for (const TensorEntry& tensor : golden_.tensors)
      if (tensor.name == name) return tensor;
    throw std::runtime_error("no " + name);
  }
  static std::vector<float> floats(const TensorEntry& entry) {
    std::vector<float> values(static_cast<std::size_t>(entry.elements()));
    std::memcpy(values.data(), entry.storage.data(), entry.storage.size());
    return values;
  }

  MappedFile file_{std::filesystem::path(WAN_SOURCE_DIR) / "tests/golden/formats/formats.safetensors"};
  CheckpointFile golden_ = parse_safetensors(file_.bytes(), "formats.safetensors");
};

TEST_F(Formats, EqualGgufsDecoderToTheBit) {
  for (const DType dtype :
       {DType::kQ8_0, DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1, DType::kQ2_K, DType::kQ3_K,
        DType::kQ4_K, DType::kQ5_K, DType::kQ6_K, DType::kIQ4_NL, DType::kIQ4_XS}) {
    const std::string name = dtype_name(dtype);
    const TensorEntry& blocks = find(name + ".blocks");
    const std::vector<float> expected = floats(find(name + ".values"));
    ASSERT_EQ(dtype_bytes(dtype, static_cast<std::int64_t>(expected.size())), blocks.storage.size()) << name;
    std::vector<float> values(expected.size());
    unpack_values(dtype, blocks.storage.data(), static_cast<std::int64_t>(values.size()), values.data());
    EXPECT_EQ(values, expected) << name;
  }
}

TEST_F(Formats, EqualPyTorchsFloatsOfEightBits) {
  std::array<std::uint8_t, 256> codes{};
  std::iota(codes.begin(), codes.end(), std::uint8_t{0});
  for (const DType dtype : {DType::kF8E4M3, DType::kF8E5M2}) {
    const std::vector<float> expected = floats(find(std::string(dtype_name(dtype)) + ".values"));
    std::array<float, 256> values{};
    unpack_values(dtype, reinterpret_cast<const std::byte*>(codes.data()), 256, values.data());
    for (std::size_t code = 0; code < 256; ++code) {
      if (std::isnan(expected[code]))
        EXPECT_TRUE(std::isnan(values[code])) << dtype_name(dtype) << " " << code;
      else
        EXPECT_EQ(values[code], expected[code]) << dtype_name(dtype) << " " << code;
      EXPECT_EQ(std::signbit(values[code]), std::signbit(expected[code])) << dtype_name(dtype) << " " << code;
    }
  }
}

/// The matrix itself, by its definition.
int hadamard(int row, int column) {
  constexpr int kFour[4][4] = {{1, 1, 1, -1}, {1, 1, -1, 1}, {1, -1, 1, 1}, {-1, 1, 1, 1}};
  int sign = 1;
  for (; row > 0 || column > 0; row /= 4, column /= 4) sign *= kFour[row % 4][column % 4];
  return sign;
}

TEST(RotatedFormat, MultipliesByTheMatrix) {
  using Format = formats::I8Rotated256;
  std::array<std::uint8_t, Format::kBytes> block{};
  const float scale = 0.37f;
  std::memcpy(block.data(), &scale, sizeof scale);
  for (int i = 0; i < 256; ++i)
    block[static_cast<std::size_t>(4 + i)] = static_cast<std::uint8_t>(i * 37 + 11);
  std::array<float, 256> values{};
  Format::unpack(block.data(), values.data());
  for (int row = 0; row < 256; ++row) {
    int sum = 0;
    for (int column = 0; column < 256; ++column) {
      // Of the leading factors, row and column 0 have a 1 each.
      sum += hadamard(row, column) * static_cast<std::int8_t>(block[static_cast<std::size_t>(4 + column)]);
    }
    EXPECT_EQ(values[static_cast<std::size_t>(row)], static_cast<float>(sum) * (scale / 16.0f)) << row;
  }
}

}  // namespace
}  // namespace wan
