#pragma once
// NVML, the library of nvidia-smi, loaded when first asked for: the program needs none to start. Its C interface as far as it is used
// (NVML API reference); every function gives 0 for success.

namespace wan::cuda {

/// Per cent of the last sample period in which a kernel ran, and in which memory was read or written.
struct NvmlRates {
  unsigned int gpu;
  unsigned int memory;
};

struct Nvml {
  /// Functions that this driver's library does not have are null, as all are where there is no library.
  Nvml();

  int (*init)() = nullptr;
  int (*handle_by_bus)(const char* bus, void** device) = nullptr;
  int (*rates)(void* device, NvmlRates* rates) = nullptr;
  int (*driver_version)(char* text, unsigned int length) = nullptr;
  int (*most_pcie_generation)(void* device, unsigned int* generation) = nullptr;
  int (*pcie_width)(void* device, unsigned int* lanes) = nullptr;
  int (*most_pcie_width)(void* device, unsigned int* lanes) = nullptr;
  int (*nvlink_state)(void* device, unsigned int link, int* active) = nullptr;
  int (*common_ancestor)(void* one, void* other, int* level) = nullptr;
  int (*p2p_status)(void* one, void* other, int capability, int* status) = nullptr;
  bool usable = false;  // loaded and initialised
};

/// Once a process.
const Nvml& nvml();
/// NVML's handle of a CUDA device; nullptr where it cannot tell.
void* nvml_device(int device);

}  // namespace wan::cuda
