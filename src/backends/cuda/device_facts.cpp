#include "backends/cuda/device_facts.h"

#include <cuda_runtime_api.h>
#include <cudnn_version.h>

#include "backends/cuda/nccl_library.h"
#include "backends/cuda/nvml.h"

extern "C" std::size_t cudnnGetVersion();

namespace wan {

namespace {

// NVML's numbers: nvmlGpuP2PCapsIndex_t, nvmlGpuTopologyLevel_t.
constexpr int kNvlinkCapability = 2;
constexpr int kSingleSwitch = 10;
constexpr int kSeveralSwitches = 20;
constexpr int kHostBridge = 30;
constexpr int kNode = 40;
constexpr unsigned int kMostNvlinks = 18;

int asked(int (*function)(void*, unsigned int*), void* device) {
  unsigned int value = 0;
  return function != nullptr && device != nullptr && function(device, &value) == 0 ? static_cast<int>(value)
                                                                                   : 0;
}

const char* topology(int level) {
  if (level <= kSingleSwitch) return "PCIe, one switch";
  if (level <= kSeveralSwitches) return "PCIe, several switches";
  if (level <= kHostBridge) return "PCIe, one host bridge";
  if (level <= kNode) return "PCIe, one processor";
  return "PCIe, between processors";
}

}  // namespace

CudaVersions cuda_versions() {
  CudaVersions versions{.built = true,
                        .driver = {},
                        .cudnn = static_cast<int>(cudnnGetVersion()),
                        .cudnn_built = CUDNN_VERSION,
                        .nccl = cuda::nccl().version,
                        .nccl_reason = cuda::nccl().reason};
  if (cudaDriverGetVersion(&versions.driver_cuda) != cudaSuccess) versions.driver_cuda = 0;
  if (cudaRuntimeGetVersion(&versions.runtime) != cudaSuccess) versions.runtime = 0;
  cudaGetLastError();
  char text[96] = {};
  const cuda::Nvml& nvml = cuda::nvml();
  if (nvml.usable && nvml.driver_version != nullptr && nvml.driver_version(text, sizeof text) == 0)
    versions.driver = text;
  return versions;
}

CudaBusFacts cuda_bus_facts(int device) {
  CudaBusFacts facts;
  char bus[32] = {};
  if (cudaDeviceGetPCIBusId(bus, sizeof bus, device) == cudaSuccess) facts.address = bus;
  cudaGetLastError();
  const cuda::Nvml& nvml = cuda::nvml();
  void* const handle = cuda::nvml_device(device);
  facts.pcie_generation = asked(nvml.most_pcie_generation, handle);
  facts.pcie_width = asked(nvml.pcie_width, handle);
  facts.pcie_most = asked(nvml.most_pcie_width, handle);
  if (handle == nullptr || nvml.nvlink_state == nullptr) return facts;
  for (unsigned int link = 0; link < kMostNvlinks; ++link) {
    int active = 0;
    if (nvml.nvlink_state(handle, link, &active) == 0 && active != 0) ++facts.nvlinks;
  }
  return facts;
}

std::string cuda_link(int from, int to) {
  const cuda::Nvml& nvml = cuda::nvml();
  void* const one = cuda::nvml_device(from);
  void* const other = cuda::nvml_device(to);
  if (one == nullptr || other == nullptr) return {};
  int status = -1;
  if (nvml.p2p_status != nullptr && nvml.p2p_status(one, other, kNvlinkCapability, &status) == 0 &&
      status == 0)
    return "NVLink";
  int level = 0;
  if (nvml.common_ancestor == nullptr || nvml.common_ancestor(one, other, &level) != 0) return {};
  return topology(level);
}

bool cuda_peer_access(int from, int to) {
  int reachable = 0;
  const bool told = cudaDeviceCanAccessPeer(&reachable, to, from) == cudaSuccess;
  cudaGetLastError();
  return told && reachable != 0;
}

}  // namespace wan
