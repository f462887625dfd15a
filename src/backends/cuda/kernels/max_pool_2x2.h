#pragma once
// Launcher of max_pool_2x2. Arguments are validated by the op.

#include "backends/cuda/check.h"
#include "ops/max_pool_2x2.h"

namespace wan::cuda {

void launch_max_pool_2x2(cudaStream_t stream, const MaxPool2x2Args& args);

}  // namespace wan::cuda
