#pragma once
// Launchers of average_down and duplicate_up. Arguments are validated by the op.

#include "backends/cuda/check.h"
#include "ops/channel_resample.h"

namespace wan::cuda {

void launch_average_down(cudaStream_t stream, const AverageDownArgs& args);
void launch_duplicate_up(cudaStream_t stream, const DuplicateUpArgs& args);

}  // namespace wan::cuda
