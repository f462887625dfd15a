// device_facts.h in a build without CUDA.

#include "backends/cuda/device_facts.h"

namespace wan {

CudaVersions cuda_versions() {
  return {};
}

CudaBusFacts cuda_bus_facts(int) {
  return {};
}

std::string cuda_link(int, int) {
  return {};
}

bool cuda_peer_access(int, int) {
  return false;
}

}  // namespace wan
