// The Hopper attention: a video's self-attention, and attention to a text whose padding is one key that counts as many.

#include "backends/cuda/attention_library.h"
#include "backends/cuda/kernels/hopper_attention_kernel.h"

namespace wan::cuda {

using hopper::Shift;

bool has_hopper_attention() {
  return true;
}

void run_hopper_attention(cudaStream_t stream, Workspace& workspace, int multiprocessors,
                          const AttentionArgs& args) {
  const HopperScratch scratch(workspace, args);
  if (args.key_bias) {
    hopper::launch<128, Shift::kOfAll, true>(stream, multiprocessors, args);
  } else if (!looks_in_one_tile(args)) {
    hopper::launch<128, Shift::kOfAll, false>(stream, multiprocessors, args);
  } else {
    int* const overflows = scratch.overflows.as<std::int32_t>();
    WAN_CUDA(cudaMemsetAsync(overflows, 0, scratch.overflows.bytes(), stream));
    hopper::launch<176, Shift::kOfTheFirst, false>(stream, multiprocessors, args, overflows);
    hopper::launch<176, Shift::kMended, false>(stream, multiprocessors, args, overflows);
  }
}

}  // namespace wan::cuda
