#include "backends/cuda/check.h"

#include "base/error.h"

namespace wan::cuda {

void check(cudaError_t status, const char* call, const char* file, int line) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // an error that is not sticky must not be found again by the next launch
  const bool memory = status == cudaErrorMemoryAllocation;
  fail(memory ? ErrorCode::kOutOfMemory : ErrorCode::kDevice, "[cuda] {} failed: {} ({}) at {}:{}{}", call,
       cudaGetErrorString(status), cudaGetErrorName(status), file, line,
       memory ? "; CUDA itself needs half a gigabyte of the GPU's memory to start and some of the host's: "
                "nvidia-smi shows which programs hold it"
              : "");
}

}  // namespace wan::cuda
