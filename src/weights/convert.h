#pragma once
// From a checkpoint's bytes to a weight's: strides removed, dtype changed.

#include "tensor/tensor.h"
#include "weights/tensor_entry.h"

namespace wan {

struct ConvertOptions {
  /// 0: as many as OpenMP would take. A copy beside a computation takes 1, so as not to slow it down.
  int threads = 0;
};

/// Writes `source`, of any strides and alignment, to `target`, row-major and of the same shape; both in host
/// memory, not overlapping. f64, f32, f16 and bf16 convert to f32, f16 and bf16, rounding to nearest even
/// (f64 through f32, as PyTorch does; NaN stays NaN, what is too large becomes infinite), and so do packed values and codes with their
/// entry's scales; every other dtype converts to itself. Throws Internal for other pairs or shapes that differ.
void convert(const TensorView& source, const TensorView& target, ConvertOptions options = {});
void convert(const TensorEntry& source, const TensorView& target, ConvertOptions options = {});

/// The same of as many elements as `target` has, from the row-major index `first` of `source` on, into `target` of any shape, on
/// the calling thread. Throws Internal also where `source` has fewer.
void convert_part(const TensorView& source, std::int64_t first, const TensorView& target);
void convert_part(const TensorEntry& source, std::int64_t first, const TensorView& target);
/// The same of an entry's values, with its change applied in f32 before they are rounded.
void convert_changed(const TensorEntry& source, std::int64_t first, const TensorView& target);

}  // namespace wan
