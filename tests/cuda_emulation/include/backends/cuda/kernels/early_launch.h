#pragma once
// In place of src/backends/cuda/kernels/early_launch.h: kernels run one after another here.

#include "backends/cuda/kernels/platform.h"

namespace wan::cuda {

inline void await_previous() {}

template <typename... Parameters, typename... Args>
void launch_early(cudaStream_t stream, const LaunchShape& shape, void (*kernel)(Parameters...),
                  const Args&... args) {
  launch(stream, shape, kernel, args...);
}

}  // namespace wan::cuda
