// CUDA's kernels for op tests: on a GPU, or emulated, by what the executable is linked with.

#include "backends/cuda/cuda_backend.h"
#include "support/mirror_backend.h"
#include "support/op_context.h"

namespace wan::test {

OpBackend make_op_backend(int) {
  // One for all tests of the executable: its plans and memory are kept, as in a program.
  static const std::unique_ptr<Backend> device = make_cuda_backend({});
  auto mirror = std::make_unique<MirrorBackend>(*device);
  OpBackend made;
  made.workspace = &mirror->workspace();
  made.backend = std::move(mirror);
  made.tf32_convolutions = true;
  made.rounds_bias_to_bf16 = true;
  made.has_every_kernel = true;
  return made;
}

}  // namespace wan::test
