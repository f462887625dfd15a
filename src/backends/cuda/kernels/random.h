#pragma once
// Launcher of the normals.

#include <cstdint>

#include "backends/cuda/check.h"
#include "backends/cuda/cuda_backend.h"

namespace wan::cuda {

/// Returns the calls of the generator that a thread makes.
std::uint64_t launch_normal(cudaStream_t stream, const CudaNormalArgs& args, std::uint64_t calls);

}  // namespace wan::cuda
