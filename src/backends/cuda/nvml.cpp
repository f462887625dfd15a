#include "backends/cuda/nvml.h"

#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include <type_traits>

namespace wan::cuda {

Nvml::Nvml() {
  void* const library = ::dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return;
  const auto find = [&](const char* name, auto& function) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(::dlsym(library, name));
    return function != nullptr;
  };
  find("nvmlDeviceGetUtilizationRates", rates);
  find("nvmlSystemGetDriverVersion", driver_version);
  find("nvmlDeviceGetMaxPcieLinkGeneration", most_pcie_generation);
  find("nvmlDeviceGetCurrPcieLinkWidth", pcie_width);
  find("nvmlDeviceGetMaxPcieLinkWidth", most_pcie_width);
  find("nvmlDeviceGetNvLinkState", nvlink_state);
  find("nvmlDeviceGetTopologyCommonAncestor", common_ancestor);
  find("nvmlDeviceGetP2PStatus", p2p_status);
  usable =
      find("nvmlInit_v2", init) && find("nvmlDeviceGetHandleByPciBusId_v2", handle_by_bus) && init() == 0;
}

const Nvml& nvml() {
  static const Nvml library;
  return library;
}

void* nvml_device(int device) {
  if (!nvml().usable) return nullptr;
  char bus[32] = {};
  if (cudaDeviceGetPCIBusId(bus, sizeof bus, device) != cudaSuccess) {
    cudaGetLastError();
    return nullptr;
  }
  void* handle = nullptr;
  return nvml().handle_by_bus(bus, &handle) == 0 ? handle : nullptr;
}

}  // namespace wan::cuda
