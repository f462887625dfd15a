#pragma once
// What launchers take: views as pointers and numbers, and the choice of a kernel's template arguments at run time.

#include <cstdint>
#include <initializer_list>

#include "backends/cuda/kernels/device_math.h"
#include "base/error.h"
#include "tensor/tensor.h"

namespace wan::cuda {

template <typename T>
struct Tag {
  using type = T;
};

/// visit(Tag<float>()) or visit(Tag<BFloat16>()), by dtype.
template <typename Visit>
void with_activation_type(DType dtype, Visit&& visit) {
  if (dtype == DType::kF32) return visit(Tag<float>());
  WAN_ASSERT(dtype == DType::kBF16);
  visit(Tag<BFloat16>());
}

/// visit(Tag<Index>()): 32 bits where they count that far, 64 otherwise.
template <typename Visit>
void with_index_type(std::int64_t count, Visit&& visit) {
  if (count <= 0x7fffffff) return visit(Tag<std::uint32_t>());
  visit(Tag<std::uint64_t>());
}

inline Vector as_vector(const TensorView& view) {
  return {view.data(), view.dtype() == DType::kBF16};
}

/// Whether rows of this many elements can be moved in packs of `pack` elements (16 bytes of the widest type they have, or
/// more): the row length and every stride of `view` a multiple of it, and 16-byte aligned memory.
inline bool packs_fit(const TensorView& view, int pack) {
  if (reinterpret_cast<std::uintptr_t>(view.data()) % 16 != 0) return false;
  if (view.dim(-1) % pack != 0) return false;
  for (int i = 0; i + 1 < view.rank(); ++i)
    if (view.dim(i) > 1 && view.stride(i) % pack != 0) return false;
  return true;
}

/// The same for all of them, those that are missing left out.
inline bool packs_fit(std::initializer_list<TensorView> views, int pack) {
  for (const TensorView& view : views)
    if (view && !packs_fit(view, pack)) return false;
  return true;
}

inline unsigned blocks_for(std::int64_t work, std::int64_t per_block) {
  const std::int64_t blocks = (work + per_block - 1) / per_block;
  WAN_CHECK(blocks <= 0x7fffffff, kInternal, "[cuda] {} blocks are too many for a launch", blocks);
  return static_cast<unsigned>(blocks);
}

inline constexpr int kFlatThreads = 256;  // of a block whose threads each have an element, or a few

inline LaunchShape thread_each(std::int64_t count) {
  return {dim3(blocks_for(count, kFlatThreads)), dim3(kFlatThreads)};
}

inline std::int64_t row_stride(const TensorView& rows) {
  return rows.stride(0);
}

}  // namespace wan::cuda
