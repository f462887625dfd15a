// The Hopper attention: a video's self-attention, and attention to a text whose padding is one key that counts as many.

#include "backends/cuda/kernels/hopper_attention_kernel.h"

namespace wan::cuda {

bool has_hopper_attention() {
  return true;
}

void run_hopper_attention(cudaStream_t stream, int multiprocessors, const AttentionArgs& args) {
  if (args.key_bias)
    hopper::launch<176, 2, true>(stream, multiprocessors, args);
  else
    hopper::launch<176, 2, false>(stream, multiprocessors, args);
}

}  // namespace wan::cuda
