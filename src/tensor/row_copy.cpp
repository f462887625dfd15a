#include "tensor/row_copy.h"

#include <cstring>

namespace wan {

namespace {

/// Bytes from the beginning of a row to the next one's, where a row is what the first dimension counts.
std::size_t pitch_of(const TensorView& view) {
  const bool rows_are_whole = view.rank() >= 1 && (view.dim(0) == 0 || view.select(0, 0).is_contiguous());
  WAN_CHECK(rows_are_whole && view.stride(0) >= 0, kInternal, "[row_copy] {} is not made of contiguous rows",
            view.shape().to_string());
  return static_cast<std::size_t>(view.stride(0)) * dtype_size(view.dtype());
}

}  // namespace

RowCopy row_copy(const TensorView& from, const TensorView& to) {
  WAN_CHECK(from.bytes() == to.bytes(), kDevice, "[row_copy] {} bytes sent, {} expected", from.bytes(),
            to.bytes());
  RowCopy copy{.from = from.data(), .to = to.data()};
  if (from.bytes() == 0) return copy;
  copy.rows = 1;
  copy.row_bytes = copy.from_pitch = copy.to_pitch = from.bytes();
  if (from.is_contiguous() && to.is_contiguous()) return copy;
  WAN_CHECK(from.shape() == to.shape() && from.dtype() == to.dtype(), kInternal,
            "[row_copy] {} {} sent, {} {} expected", dtype_name(from.dtype()), from.shape().to_string(),
            dtype_name(to.dtype()), to.shape().to_string());
  copy.rows = static_cast<std::size_t>(from.dim(0));
  copy.row_bytes = from.bytes() / copy.rows;
  copy.from_pitch = pitch_of(from);
  copy.to_pitch = pitch_of(to);
  return copy;
}

void copy_rows(const RowCopy& copy) {
  if (copy.from == copy.to) return;
  for (std::size_t row = 0; row < copy.rows; ++row)
    std::memcpy(copy.to + row * copy.to_pitch, copy.from + row * copy.from_pitch, copy.row_bytes);
}

}  // namespace wan
