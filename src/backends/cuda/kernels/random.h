#pragma once
// Launcher of the normals.

#include "backends/cuda/check.h"
#include "tensor/compute_device.h"

namespace wan::cuda {

void launch_normal(cudaStream_t stream, const CudaNormalsArgs& args);

}  // namespace wan::cuda
