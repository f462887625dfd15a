#pragma once
// Launcher of the kernels that unpack weights. Arguments are validated by the op.

#include "backends/cuda/check.h"
#include "ops/unpack.h"

namespace wan::cuda {

void launch_unpack(cudaStream_t stream, const UnpackArgs& args);

}  // namespace wan::cuda
