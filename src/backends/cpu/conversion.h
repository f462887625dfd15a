#pragma once
// Between bf16 and f32 for ops whose kernels compute in f32.

#include "backends/cpu/kernels/kernels.h"
#include "ops/workspace.h"

namespace wan {

inline constexpr std::int64_t kChunk = 1024;  // values converted at a time, on the stack

inline std::uint16_t* bf16_bits(const TensorView& view) {
  return &view.as<BF16>()->bits;
}

/// n values of an f32 or bf16 row as f32: the row itself, or a copy in `buffer`.
inline const float* row_as_f32(const CpuKernels& kernels, const TensorView& view, std::int64_t offset,
                               std::int64_t n, float* buffer) {
  if (view.dtype() == DType::kF32) return view.as<float>() + offset;
  kernels.bf16_to_f32(bf16_bits(view) + offset, buffer, n);
  return buffer;
}

/// Calls compute(f32 pointer) and has its n values end up in the row of an f32 or bf16 view.
template <typename Compute>
void write_row(const CpuKernels& kernels, const TensorView& view, std::int64_t offset, std::int64_t n,
               float* buffer, Compute&& compute) {
  if (view.dtype() == DType::kF32) return compute(view.as<float>() + offset);
  compute(buffer);
  kernels.f32_to_bf16(buffer, bf16_bits(view) + offset, n);
}

/// Writes a view to contiguous f32 `out` of its shape, on `threads` threads; rows of the last dimension must be contiguous.
void copy_to_f32(const CpuKernels& kernels, int threads, const TensorView& view, const TensorView& out);
/// The same to memory of the workspace.
TensorView copy_as_f32(const CpuKernels& kernels, int threads, Workspace& workspace, const TensorView& view);
/// Memory for such a copy; the view itself where it is f32 already.
TensorView take_f32(Workspace& workspace, const TensorView& view);
/// The view itself where it is f32 already.
TensorView as_f32(const CpuKernels& kernels, int threads, Workspace& workspace, const TensorView& view);

}  // namespace wan
