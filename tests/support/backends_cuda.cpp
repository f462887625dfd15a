#include "backends/cuda/cuda_backend.h"
#include "support/backends.h"
#include "support/mirror_backend.h"

namespace wan::test {

std::vector<Kernels> all_kernels() {
  return {Kernels::kCuda};
}

std::unique_ptr<Backend> make_backend(Kernels) {
  // Golden files are f32; TF32 would be off by 3e-4 a convolution.
  static const std::unique_ptr<Backend> device = make_cuda_backend({.tf32_convolutions = false});
  return std::make_unique<MirrorBackend>(*device);
}

}  // namespace wan::test
