#pragma once
// Checked calls of the CUDA runtime, cuBLASLt and cuDNN: a failure names the call, its place and the library's reason.

#include <cuda_runtime_api.h>

namespace wan::cuda {

/// Throws Device (OutOfMemory for cudaErrorMemoryAllocation) unless `status` is success.
void check(cudaError_t status, const char* call, const char* file, int line);

}  // namespace wan::cuda

/// WAN_CUDA(cudaStreamSynchronize(stream)): throws an Error with the text of the call unless it succeeds.
#define WAN_CUDA(call) ::wan::cuda::check((call), #call, __FILE__, __LINE__)
