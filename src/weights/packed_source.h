#pragma once
// A checkpoint's packed weights and codes with scales: the packed dtype in which a matrix stays in memory, and its bytes there.

#include <optional>

#include "weights/tensor_entry.h"

namespace wan {

/// Nothing for a tensor that is not packed, for one that is no matrix or has a change that is no product of two narrow matrices, and for rows that are no whole blocks of any format that the scales
/// fit: these are unpacked when they are loaded.
std::optional<DType> packed_dtype_of(const TensorEntry& entry);

/// Bytes [first, first + count) of the matrix in that dtype. The file's own, or its codes with the scale of each block before them.
void read_packed(const TensorEntry& entry, DType packed, std::size_t first, std::size_t count,
                 std::byte* out);

/// What of the file these bytes are made from, scales apart.
std::span<const std::byte> packed_storage(const TensorEntry& entry, DType packed, std::size_t first,
                                          std::size_t count);

/// So many values from the row-major index `first` on, as f32. Both are multiples of 256, but for the tensor's end.
void read_values(const TensorEntry& entry, std::int64_t first, std::int64_t count, float* out);

}  // namespace wan
