// The driver's functions that cudnn-frontend's headers name, for CUDA graphs and messages that are not used here. With the
// driver's library linked instead, the program would not start on a machine without a driver. Hidden, so that no other
// library finds them.

#include <cuda.h>

extern "C" {

__attribute__((visibility("hidden"))) CUresult cuGraphCreate(CUgraph*, unsigned int) {
  return CUDA_ERROR_NOT_SUPPORTED;
}

__attribute__((visibility("hidden"))) CUresult cuGraphGetNodes(CUgraph, CUgraphNode*, size_t*) {
  return CUDA_ERROR_NOT_SUPPORTED;
}

__attribute__((visibility("hidden"))) CUresult cuGetErrorString(CUresult, const char** text) {
  *text = "an error of the CUDA driver";
  return CUDA_SUCCESS;
}

}  // extern "C"
