#include "backends/cpu/cpu_backend.h"
#include "support/backends.h"
#include "support/plain_backend.h"

namespace wan::test {

std::vector<Kernels> all_kernels() {
  return {Kernels::kPlain, Kernels::kCpu};
}

std::unique_ptr<Backend> make_backend(Kernels kernels) {
  if (kernels == Kernels::kPlain) return std::make_unique<PlainBackend>();
  return make_cpu_backend({.threads = 2});
}

}  // namespace wan::test
