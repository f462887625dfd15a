#include "backends/cuda/check.h"

#include "base/error.h"

namespace wan::cuda {

void check(cudaError_t status, const char* call, const char* file, int line) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // an error that is not sticky must not be found again by the next launch
  const ErrorCode code = status == cudaErrorMemoryAllocation ? ErrorCode::kOutOfMemory : ErrorCode::kDevice;
  fail(code, "[cuda] {} failed: {} ({}) at {}:{}", call, cudaGetErrorString(status), cudaGetErrorName(status),
       file, line);
}

}  // namespace wan::cuda
