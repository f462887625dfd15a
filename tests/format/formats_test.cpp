// The formats of packed weights against the libraries that define them: gguf's decoder and PyTorch's fp8 (tests/golden/formats).

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <numeric>

#include "base/mapped_file.h"
#include "tensor/unpack.h"
#include "weights/quantize.h"
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

  MappedFile file_{std::filesystem::path(WAN_GOLDEN_DIR) / "formats/formats.safetensors"};
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

TEST_F(Formats, RoundAsGgufAndPyTorchDo) {
  const TensorEntry& entry = find("rounded.values");
  const std::vector<float> values = floats(entry);
  const std::int64_t rows = entry.shape[0];
  const std::int64_t columns = entry.shape[1];
  for (const MatrixFormat format : {MatrixFormat::kQ8_0, MatrixFormat::kQ4_0}) {
    const TensorEntry& expected = find(std::string("rounded.") + matrix_format_name(format));
    std::vector<std::byte> codes(expected.storage.size());
    const Squares squares = quantize_matrix(format, entry, codes, {});
    EXPECT_EQ(std::memcmp(codes.data(), expected.storage.data(), codes.size()), 0)
        << matrix_format_name(format);
    const double error = std::sqrt(squares.errors / squares.values);
    EXPECT_GT(error, format == MatrixFormat::kQ8_0 ? 1e-3 : 1e-2);
    EXPECT_LT(error, format == MatrixFormat::kQ8_0 ? 1e-2 : 0.12);
  }
  // By rows whose scale is 1: each ends in the largest code.
  const TensorEntry& expected = find("rounded.f8_e4m3");
  for (std::int64_t row = 0; row < rows; ++row) {
    std::vector<float> scaled(values.begin() + row * columns, values.begin() + (row + 1) * columns);
    scaled.back() = 448.0f;
    std::vector<std::byte> codes(scaled.size());
    float scale = 0;
    quantize_row(MatrixFormat::kF8, scaled.data(), columns, codes.data(), &scale);
    EXPECT_EQ(scale, 1.0f);
    EXPECT_EQ(codes.back(), std::byte{0x7e});
    EXPECT_EQ(std::memcmp(codes.data(), expected.storage.data() + row * columns, codes.size() - 1), 0) << row;
  }
}

TEST_F(Formats, OfRowsGiveBackWhatFitsThem) {
  // Integers to 127 with 127 among them, and zeros: int8 with a scale a row loses nothing.
  std::vector<float> row(64);
  for (std::size_t i = 0; i < row.size(); ++i) row[i] = static_cast<float>(i) * 4.0f - 125.0f;
  std::vector<std::byte> codes(row.size());
  float scale = 0;
  EXPECT_EQ(quantize_row(MatrixFormat::kI8, row.data(), 64, codes.data(), &scale), 0.0);
  EXPECT_EQ(scale, 1.0f);
  EXPECT_EQ(codes.back(), std::byte{127});
  EXPECT_EQ(codes[1], std::byte{0x87});
  const std::vector<float> zeros(64);
  for (const MatrixFormat format : {MatrixFormat::kBF16, MatrixFormat::kF8, MatrixFormat::kI8,
                                    MatrixFormat::kQ8_0, MatrixFormat::kQ4_0}) {
    std::vector<std::byte> of_zeros(128);
    EXPECT_EQ(quantize_row(format, zeros.data(), 64, of_zeros.data(), &scale), 0.0)
        << matrix_format_name(format);
  }
  std::vector<float> least(64);  // so small that their scale is no f32
  least[0] = std::numeric_limits<float>::denorm_min();
  for (const MatrixFormat format : {MatrixFormat::kF8, MatrixFormat::kI8}) {
    std::vector<std::byte> codes_of_least(64, std::byte{1});
    EXPECT_LT(quantize_row(format, least.data(), 64, codes_of_least.data(), &scale), 1e-70)
        << matrix_format_name(format);
    EXPECT_GT(scale, 0.0f) << matrix_format_name(format);
    EXPECT_EQ(codes_of_least, std::vector<std::byte>(64)) << matrix_format_name(format);
  }
  const std::vector<float> tiny(64, 1e-38f);  // one over their scale is no f32
  for (const MatrixFormat format : {MatrixFormat::kQ8_0, MatrixFormat::kQ4_0}) {
    std::vector<std::byte> codes_of_tiny(128);
    EXPECT_LT(quantize_row(format, tiny.data(), 64, codes_of_tiny.data(), &scale), 1e-70)
        << matrix_format_name(format);
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
