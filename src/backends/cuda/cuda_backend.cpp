#include "backends/cuda/cuda_backend.h"

#include "backends/cuda/backend_impl.h"
#include "backends/cuda/kernels/probe.h"
#include "base/error.h"

namespace wan {

namespace {

std::string reason_of(cudaError_t status) {
  cudaGetLastError();
  return fmt::format("{} ({})", cudaGetErrorString(status), cudaGetErrorName(status));
}

std::string dotted(int version) {  // 13000 is 13.0
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

/// Why there is no device at all; empty where there are some.
std::string no_devices_reason(int& count) {
  count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaSuccess) return count > 0 ? "" : "the driver shows no CUDA device";
  count = 0;
  int driver = 0;
  int runtime = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess) driver = 0;
  if (cudaRuntimeGetVersion(&runtime) != cudaSuccess) runtime = 0;
  if (driver == 0)
    return fmt::format("no NVIDIA driver is loaded ({}); use `device` cpu", cudaGetErrorName(status));
  if (status == cudaErrorInsufficientDriver)
    return fmt::format(
        "the NVIDIA driver is too old: it runs CUDA {}, this build needs {}; update the driver or build with "
        "an "
        "older CUDA toolkit",
        dotted(driver), dotted(runtime));
  return fmt::format("no CUDA device can be used: {}", reason_of(status));
}

}  // namespace

int cuda_device_count() {
  int count = 0;
  no_devices_reason(count);
  return count;
}

std::string cuda_unusable_reason(int device) {
  int count = 0;
  if (std::string reason = no_devices_reason(count); !reason.empty()) return reason;
  if (device < 0 || device >= count)
    return fmt::format("there is no cuda:{}: the driver shows {} device{}", device, count,
                       count == 1 ? "" : "s");
  const CudaDeviceInfo info = cuda_device_info(device);
  const cuda::CurrentDevice here(device, std::nothrow);
  const cudaError_t status = here.status() == cudaSuccess ? cuda::probe_kernels() : here.status();
  if (status == cudaSuccess) return "";
  const std::string why = reason_of(status);
  if (status == cudaErrorNoKernelImageForDevice || status == cudaErrorInvalidDeviceFunction ||
      status == cudaErrorUnsupportedPtxVersion)
    return fmt::format(
        "this build has no code for the compute capability {}.{} of {}: configure with "
        "-DWAN_CUDA_ARCHITECTURES={}{}",
        info.compute_major, info.compute_minor, info.name, info.compute_major, info.compute_minor);
  return fmt::format("cuda:{} ({}) cannot be used: {}", device, info.name, why);
}

CudaDeviceInfo cuda_device_info(int device) {
  cudaDeviceProp properties{};
  WAN_CUDA(cudaGetDeviceProperties(&properties, device));
  CudaDeviceInfo info;
  info.name = properties.name;
  info.compute_major = properties.major;
  info.compute_minor = properties.minor;
  info.multiprocessors = properties.multiProcessorCount;
  info.threads_per_multiprocessor = properties.maxThreadsPerMultiProcessor;
  const cuda::CurrentDevice here(device);
  std::size_t free_bytes = 0;
  std::size_t total_bytes = 0;
  WAN_CUDA(cudaMemGetInfo(&free_bytes, &total_bytes));
  info.free_bytes = static_cast<std::int64_t>(free_bytes);
  info.total_bytes = static_cast<std::int64_t>(total_bytes);
  return info;
}

std::unique_ptr<Backend> make_cuda_backend(const CudaBackendOptions& options) {
  const std::string reason = cuda_unusable_reason(options.device);
  WAN_CHECK(reason.empty(), kUnsupported, "{}", MessagePart{reason});
  return std::make_unique<cuda::CudaBackend>(options);
}

}  // namespace wan
