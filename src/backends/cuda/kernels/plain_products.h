#pragma once
// Launchers of products that any device runs, for arguments that the libraries refuse. Simple and slow.

#include "backends/cuda/check.h"
#include "ops/conv3d.h"
#include "ops/linear.h"

namespace wan::cuda {

void launch_plain_linear(cudaStream_t stream, const LinearArgs& args);
void launch_plain_conv3d(cudaStream_t stream, const Conv3dArgs& args);

}  // namespace wan::cuda
