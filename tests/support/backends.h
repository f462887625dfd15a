#pragma once
// The backends that a model's test runs on. Which those are is chosen by the file that the executable is linked with:
// backends_cpu.cpp (plain composites alone, and the CPU's kernels) or backends_cuda.cpp (CUDA's, on a GPU or emulated).

#include <memory>
#include <vector>

#include "ops/backend.h"

namespace wan::test {

enum class Kernels { kPlain, kCpu, kCuda };

std::vector<Kernels> all_kernels();
/// Takes host memory, whatever it computes on.
std::unique_ptr<Backend> make_backend(Kernels kernels);

inline const char* kernels_name(Kernels kernels) {
  switch (kernels) {
    case Kernels::kPlain:
      return "plain";
    case Kernels::kCpu:
      return "cpu";
    case Kernels::kCuda:
      break;
  }
  return "cuda";
}

}  // namespace wan::test
