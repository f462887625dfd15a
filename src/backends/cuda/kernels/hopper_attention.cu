// The Hopper attention without biases: a video's self-attention.

#include "backends/cuda/kernels/hopper_attention_kernel.h"

namespace wan::cuda {

bool has_hopper_attention() {
  return true;
}

void run_hopper_attention(cudaStream_t stream, Workspace& workspace, int multiprocessors,
                          const AttentionArgs& args) {
  // DefaultFusion would let the last tile's missing keys count; ResidualFusion masks them.
  run_hopper_kernel<cutlass::fmha::collective::ResidualFusion>(stream, workspace, multiprocessors, args);
}

}  // namespace wan::cuda
