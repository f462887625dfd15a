// Utilization by NVML, the library of nvidia-smi, loaded when first asked for: the program needs none to start.

#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include <optional>
#include <type_traits>

#include "backends/cuda/cuda_backend.h"

namespace wan {

namespace {

/// NVML's C interface, as far as it is used (NVML API reference, "Device Queries"). 0 is success.
struct Rates {
  unsigned int gpu;  // per cent of the last sample period in which a kernel ran
  unsigned int memory;
};

struct Nvml {
  int (*init)() = nullptr;
  int (*handle_by_bus)(const char*, void**) = nullptr;
  int (*rates)(void*, Rates*) = nullptr;
  bool usable = false;

  Nvml() {
    void* const library = ::dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) return;
    const auto find = [&](const char* name, auto& function) {
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(::dlsym(library, name));
      return function != nullptr;
    };
    usable = find("nvmlInit_v2", init) && find("nvmlDeviceGetHandleByPciBusId_v2", handle_by_bus) &&
             find("nvmlDeviceGetUtilizationRates", rates) && init() == 0;
  }
};

}  // namespace

std::optional<double> cuda_utilization(int device) {
  static const Nvml nvml;
  if (!nvml.usable) return std::nullopt;
  char bus[32] = {};
  if (cudaDeviceGetPCIBusId(bus, sizeof bus, device) != cudaSuccess) {
    cudaGetLastError();
    return std::nullopt;
  }
  void* handle = nullptr;
  Rates rates{};
  if (nvml.handle_by_bus(bus, &handle) != 0 || nvml.rates(handle, &rates) != 0) return std::nullopt;
  return rates.gpu / 100.0;
}

}  // namespace wan
