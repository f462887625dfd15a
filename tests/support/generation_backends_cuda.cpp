#include "backends/cuda/cuda_backend.h"
#include "support/generation_backends.h"

namespace wan::test {

std::vector<const char*> generation_backends() {
  return {"cuda"};
}

std::unique_ptr<Backend> make_generation_backend(std::string_view) {
  // Golden files are f32; TF32 would be off by 3e-4 a convolution.
  return make_cuda_backend({.tf32_convolutions = false});
}

}  // namespace wan::test
