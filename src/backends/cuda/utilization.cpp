#include <optional>

#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/nvml.h"

namespace wan {

std::optional<double> cuda_utilization(int device) {
  const cuda::Nvml& nvml = cuda::nvml();
  void* const handle = cuda::nvml_device(device);
  cuda::NvmlRates rates{};
  if (handle == nullptr || nvml.rates == nullptr || nvml.rates(handle, &rates) != 0) return std::nullopt;
  return rates.gpu / 100.0;
}

}  // namespace wan
