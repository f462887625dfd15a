// unpack on every format, against the libraries that define the formats (tests/golden/formats) and against the composite.

#include "ops/unpack.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <string>

#include "support/guarded.h"
#include "support/op_context.h"
#include "tensor/unpack.h"

namespace wan::test::unpack_test {
namespace {

std::vector<DType> packed_dtypes() {
  std::vector<DType> dtypes;
  for (int i = 0; i < formats::All::kCount; ++i)
    dtypes.push_back(static_cast<DType>(static_cast<int>(DType::kF8E4M3) + i));
  return dtypes;
}

/// Packed rows of any bytes; where halves or floats stand, no exponent is all ones, so that every value is finite.
struct PackedRows {
  PackedRows(DType dtype, std::int64_t rows, std::int64_t columns)
      : bytes(DType::kU8, {static_cast<std::int64_t>(dtype_bytes(dtype, rows * columns))}),
        view(bytes.view().data(), dtype, {rows, columns}) {
    std::uint32_t state = 0x9e3779b9u + static_cast<std::uint32_t>(dtype);
    for (std::int64_t i = 0; i < bytes.elements(); ++i) {
      state = state * 1664525u + 1013904223u;
      bytes.as<std::uint8_t>()[i] = static_cast<std::uint8_t>((state >> 24) & 0xbb);
    }
  }
  Tensor bytes;
  TensorView view;
};

TEST(Unpack, EqualsTheCompositeOnEveryFormat) {
  OpContext ops;
  for (const DType dtype : packed_dtypes())
    for (const DType out_type : {DType::kF32, DType::kBF16})
      for (const std::int64_t rows : {1, 3, 70}) {
        SCOPED_TRACE(std::string(dtype_name(dtype)) + " to " + dtype_name(out_type) + ", " +
                     std::to_string(rows));
        // Enough for a second thread; no whole number of what a thread block takes.
        const auto block = static_cast<std::int64_t>(values_per_block(dtype));
        const PackedRows packed(dtype, rows, block == 1 ? 16 * 21 : block * (block < 256 ? 5 : 3));
        const Guarded out(out_type, packed.view.shape());
        unpack(ops.ctx, {.packed = packed.view, .out = out});
        const Tensor expected(out_type, packed.view.shape());
        reference(UnpackArgs{.packed = packed.view, .out = expected});
        EXPECT_EQ(std::memcmp(out.view().data(), expected.view().data(), expected.view().bytes()), 0);
        EXPECT_TRUE(out.intact());
      }
}

TEST(Unpack, RefusesRowsThatAreNoBlocks) {
  EXPECT_FALSE(fits_rows(DType::kQ4_K, 128));
  EXPECT_FALSE(fits_rows(DType::kF8E4M3, 24));
  EXPECT_TRUE(fits_rows(DType::kF8E4M3, 48));
  EXPECT_TRUE(fits_rows(DType::kQ4_0, 32));
  EXPECT_FALSE(fits_rows(DType::kQ4_0, 0));
}

}  // namespace
}  // namespace wan::test::unpack_test
