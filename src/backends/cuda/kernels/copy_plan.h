#pragma once
// From two views of one shape to the smallest plan of a copy between them. Host code.

#include <cstdint>

#include "tensor/tensor.h"

namespace wan::cuda {

/// A copy's extents and strides in elements, the last dimension first in memory order of the result.
struct CopyPlan {
  static constexpr int kMostDims = 6;
  std::int64_t extents[kMostDims];
  std::int64_t from_strides[kMostDims];
  std::int64_t out_strides[kMostDims];
  int rank;
  std::int64_t count;  // packs in all
};

/// Dimensions of one index left out, neighbours that are one run in both views merged, and the dimension in which the
/// result is densest last. The views are not empty.
CopyPlan make_copy_plan(const TensorView& from, const TensorView& out);

/// Makes the last dimension count packs of `pack` elements; strides of the others stay in elements. False, and the plan
/// as it was, where the last dimension is not dense in both views, or an extent, a stride or an address does not divide:
/// addresses by `from_alignment` and `out_alignment` bytes.
struct PackRequest {
  int pack;
  std::uintptr_t from_alignment, out_alignment;
};
bool take_packs(CopyPlan& plan, const TensorView& from, const TensorView& out, const PackRequest& request);

}  // namespace wan::cuda
