#pragma once
// The backends that a model's test runs on: plain composites alone, and the CPU's kernels.

#include <memory>

#include "backends/cpu/cpu_backend.h"
#include "support/plain_backend.h"

namespace wan::test {

enum class Kernels { kPlain, kCpu };

inline constexpr Kernels kAllKernels[] = {Kernels::kPlain, Kernels::kCpu};

inline const char* kernels_name(Kernels kernels) {
  return kernels == Kernels::kPlain ? "plain" : "cpu";
}

inline std::unique_ptr<Backend> make_backend(Kernels kernels) {
  if (kernels == Kernels::kPlain) return std::make_unique<PlainBackend>();
  return make_cpu_backend({.threads = 2});
}

}  // namespace wan::test
