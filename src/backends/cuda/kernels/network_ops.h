#pragma once
// Launchers of what networks of pictures have of their own: pointwise functions, reductions of rows, depthwise convolutions.

#include "backends/cuda/check.h"
#include "ops/depthwise_conv.h"
#include "ops/pointwise.h"
#include "ops/row_reduction.h"

namespace wan::cuda {

void launch_pointwise(cudaStream_t stream, const PointwiseArgs& args);
void launch_row_reduction(cudaStream_t stream, const RowReductionArgs& args);
void launch_depthwise_conv(cudaStream_t stream, const DepthwiseConvArgs& args);

}  // namespace wan::cuda
