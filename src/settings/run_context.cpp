#include "settings/run_context.h"

namespace wan {

void RunContext::check_cancelled() const {
  const bool asked = cancelled != nullptr && cancelled->load();
  bool stop = asked;
  if (exec.communicator.size() > 1) {  // rank 0's word
    const Tensor word(DType::kF32, {1});
    *word.as<float>() = asked ? 1.0f : 0.0f;
    const Tensor shared(exec.backend.allocator(), DType::kF32, word.shape());
    exec.backend.upload(word, shared);
    exec.communicator.broadcast(shared, 0);
    exec.backend.download(shared, word);
    stop = *word.as<float>() != 0.0f;
  }
  WAN_CHECK(!stop, kCancelled, "stopped on request");
}

}  // namespace wan
