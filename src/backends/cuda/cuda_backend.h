#pragma once
// The CUDA backend: cuBLASLt for matrix products, cuDNN for convolutions, kernels of its own for the rest. In a build
// without CUDA these functions exist too: there is no device, and the reason says so.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "ops/backend.h"

namespace wan {

struct CudaBackendOptions {
  int device = 0;
  /// Convolutions of f32 data multiply in TF32, as PyTorch's do unless told otherwise. Matrix products never do.
  bool tf32_convolutions = true;
  /// The Hopper attention kernels, where the device has them. Off: what other devices run.
  bool hopper_attention = true;
  /// Times several algorithms of each large product and convolution when it first comes, and keeps the fastest of those that
  /// give the same bits, so that the result is the same in every run. Off: the library's first choice.
  bool tune = true;
  /// Scores in memory at once where attention is two products: 64 MB and, in bf16, half as much again. Enough rows to fill a
  /// GPU, and about what its cache holds.
  std::int64_t attention_scores = std::int64_t{1} << 24;
};

struct CudaDeviceInfo {
  std::string name;  // "NVIDIA H200"
  int compute_major = 0, compute_minor = 0;
  int multiprocessors = 0;
  int threads_per_multiprocessor = 0;
  std::int64_t free_bytes = 0;  // of the whole device, other programs counted
  std::int64_t total_bytes = 0;
};

/// Why cuda:device cannot be used by this build, as a sentence for a person ("this build has no CUDA", no driver, no such
/// device, no code for its architecture); empty where it can.
std::string cuda_unusable_reason(int device);
/// Devices that the driver shows; 0 without a driver or in a build without CUDA.
int cuda_device_count();
/// Throws Device.
CudaDeviceInfo cuda_device_info(int device);

/// Part of the last moments in which the device worked, 0 to 1; nothing where the driver's NVML is missing or does not tell.
std::optional<double> cuda_utilization(int device);

/// Throws Unsupported, with the reason, where the device cannot be used. One thread at a time may run ops; upload and
/// download may be called from others. Whatever is called leaves the thread's current device as it was.
std::unique_ptr<Backend> make_cuda_backend(const CudaBackendOptions& options);

}  // namespace wan
