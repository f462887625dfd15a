#pragma once
// Whether the current device runs this build's kernels.

#include <cuda_runtime_api.h>

namespace wan::cuda {

/// Looks for the code of an empty kernel: success, or what the runtime says.
cudaError_t probe_kernels();

/// Whether await_previous() waits on the current device: of compute capability 9 or later, in code built for it. Throws Device.
bool kernels_await();

}  // namespace wan::cuda
