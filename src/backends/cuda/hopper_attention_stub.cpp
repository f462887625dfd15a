// Builds without the architecture 90a.

#include "backends/cuda/attention_library.h"
#include "base/error.h"

namespace wan::cuda {

bool has_hopper_attention() {
  return false;
}

void run_hopper_attention(cudaStream_t, Workspace&, int, const AttentionArgs&) {
  fail(ErrorCode::kUnsupported, "[attention] this build has no kernels for Hopper GPUs");
}

}  // namespace wan::cuda
