#pragma once
// RowCopy: a copy between two views as rows of equal length at equal distances, which is what memcpy2D functions take.

#include "tensor/tensor.h"

namespace wan {

/// `rows` runs of `row_bytes` bytes, their beginnings `from_pitch` and `to_pitch` bytes apart.
struct RowCopy {
  const std::byte* from = nullptr;
  std::byte* to = nullptr;
  std::size_t rows = 0;
  std::size_t row_bytes = 0;
  std::size_t from_pitch = 0;
  std::size_t to_pitch = 0;
};

/// One row for two contiguous views of as many bytes. Otherwise the views have one dtype and shape, and all dimensions after the
/// first are contiguous, such as slices of heads of [tokens, heads, width], a row a token. Throws Internal for others, Device where
/// the bytes differ.
RowCopy row_copy(const TensorView& from, const TensorView& to);

/// On the host. Views of the same memory and empty ones are left alone.
void copy_rows(const RowCopy& copy);

}  // namespace wan
