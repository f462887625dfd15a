#pragma once
// Packed values as f32 on the host, and the format of a packed dtype where code is made for each.

#include <cstddef>
#include <cstdint>

#include "base/error.h"
#include "tensor/dtype.h"
#include "tensor/formats/all_formats.h"

namespace wan {

/// Writes so many values of whole blocks, on the calling thread. Throws Internal for a dtype that is not packed.
void unpack_values(DType dtype, const std::byte* blocks, std::int64_t values, float* out);

/// Whether rows of so many values can be held packed: as whole blocks, and whole runs.
bool fits_rows(DType packed, std::int64_t columns);

/// Its place in formats::All.
inline int format_index(DType packed) {
  WAN_CHECK(is_packed(packed), kInternal, "[format] {} is not packed", dtype_name(packed));
  return static_cast<int>(packed) - static_cast<int>(DType::kF8E4M3);
}

template <typename Visit, typename... Formats>
void with_format_of(DType packed, Visit&& visit, formats::FormatList<Formats...>) {
  int left = format_index(packed);
  static_cast<void>(((left-- == 0 ? (visit(Formats()), true) : false) || ...));
}

/// visit(Format()) with the format of a packed dtype. Throws Internal for another one.
template <typename Visit>
void with_format(DType packed, Visit&& visit) {
  with_format_of(packed, visit, formats::All{});
}

}  // namespace wan
