#pragma once
// Rows of numbers in fewer bits, as the formats' own tools round them.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "weights/tensor_entry.h"

namespace wan {

/// What a matrix can be written in.
enum class MatrixFormat {
  kBF16,
  kF8,    // e4m3, an f32 scale a row: largest magnitude / 448
  kI8,    // an f32 scale a row: largest magnitude / 127
  kQ8_0,  // as gguf rounds
  kQ4_0,  // likewise
};

/// "bf16", "fp8", "int8", "q8_0", "q4_0"; nothing for another text.
std::optional<MatrixFormat> parse_matrix_format(std::string_view text);
const char* matrix_format_name(MatrixFormat format);

/// Of the codes or blocks.
DType dtype_of(MatrixFormat format);
/// Whether each row has a scale beside its codes.
bool has_row_scales(MatrixFormat format);

/// Writes `count` values, whole blocks, to `codes`, and their scale where they have one to themselves; returns the sum of the squares of
/// what each is off by.
double quantize_row(MatrixFormat format, const float* values, std::int64_t count, std::byte* codes,
                    float* scale);

/// Sums over a matrix.
struct Squares {
  double errors = 0;
  double values = 0;
};
/// Every row of a checkpoint's matrix, with its change, on as many threads as OpenMP takes. `codes` and, where rows have them, `scales` hold all rows'.
/// A row with a value that is not finite is left out, and the sum of the values is not finite either; nor is that of the errors
/// where a scale is too large for the format's.
Squares quantize_matrix(MatrixFormat format, const TensorEntry& source, std::span<std::byte> codes,
                        std::span<float> scales);

}  // namespace wan
