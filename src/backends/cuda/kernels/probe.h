#pragma once
// Whether the current device runs this build's kernels.

#include <cuda_runtime_api.h>

namespace wan::cuda {

/// Looks for the code of an empty kernel: success, or what the runtime says.
cudaError_t probe_kernels();

}  // namespace wan::cuda
