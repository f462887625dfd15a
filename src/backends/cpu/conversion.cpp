#include "backends/cpu/conversion.h"

#include <cstring>

#include "backends/cpu/parallel_for.h"

namespace wan {

void copy_to_f32(const CpuKernels& kernels, int threads, const TensorView& view, const TensorView& out) {
  const std::int64_t width = view.rank() == 0 ? 1 : view.dim(-1);
  const std::int64_t rows = width == 0 ? 0 : view.elements() / width;
  for_each_row(threads, rows, width, [&](std::int64_t row) {
    // The row's offset through the outer strides.
    std::int64_t offset = 0;
    std::int64_t rest = row;
    for (int axis = view.rank() - 2; axis >= 0; --axis) {
      offset += rest % view.dim(axis) * view.stride(axis);
      rest /= view.dim(axis);
    }
    float* to = out.as<float>() + row * width;
    const float* from = row_as_f32(kernels, view, offset, width, to);
    if (from != to) std::memcpy(to, from, static_cast<std::size_t>(width) * sizeof(float));
  });
}

TensorView copy_as_f32(const CpuKernels& kernels, int threads, Workspace& workspace, const TensorView& view) {
  const TensorView out = workspace.take(DType::kF32, view.shape());
  copy_to_f32(kernels, threads, view, out);
  return out;
}

TensorView take_f32(Workspace& workspace, const TensorView& view) {
  return view.dtype() == DType::kF32 ? view : workspace.take(DType::kF32, view.shape());
}

TensorView as_f32(const CpuKernels& kernels, int threads, Workspace& workspace, const TensorView& view) {
  const TensorView out = take_f32(workspace, view);
  if (out.data() != view.data()) copy_to_f32(kernels, threads, view, out);
  return out;
}

}  // namespace wan
