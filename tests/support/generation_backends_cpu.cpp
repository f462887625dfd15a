#include "backends/cpu/cpu_backend.h"
#include "support/fenced_backend.h"
#include "support/generation_backends.h"

namespace wan::test {

std::vector<const char*> generation_backends() {
  return {"cpu", "fenced"};
}

std::unique_ptr<Backend> make_generation_backend(std::string_view name) {
  auto backend = make_cpu_backend({.threads = 2});
  if (name == "cpu") return backend;
  return std::make_unique<FencedBackend>(std::move(backend));
}

}  // namespace wan::test
