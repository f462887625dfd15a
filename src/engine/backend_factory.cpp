#include "engine/backend_factory.h"

#include <charconv>

#include "backends/cpu/cpu_backend.h"
#include "backends/cuda/cuda_backend.h"

namespace wan {

namespace {

/// N of "cuda:N", 0 of "cuda".
int device_index(const std::string& device) {
  if (device == "cuda") return 0;
  int index = -1;
  const char* const begin = device.data() + std::string("cuda:").size();
  const char* const end = device.data() + device.size();
  const bool named = device.starts_with("cuda:") && begin < end;
  const bool whole = named && std::from_chars(begin, end, index) == std::from_chars_result{end, std::errc()};
  WAN_CHECK(whole && index >= 0, kInvalidArgument, "`device` {}: expected cpu, cuda, cuda:N or auto", device);
  return index;
}

ChosenBackend make_cuda(const std::string& device, int index) {
  const std::string reason = cuda_unusable_reason(index);
  WAN_CHECK(reason.empty(), kUnsupported, "`device` {}: {}", device, MessagePart{reason});
  const CudaDeviceInfo info = cuda_device_info(index);
  return {.backend = make_cuda_backend({.device = index}),
          .grid = {info.multiprocessors, info.threads_per_multiprocessor},
          .utilization = [index] { return cuda_utilization(index); }};
}

}  // namespace

ChosenBackend make_backend(const EngineOptions& options) {
  WAN_CHECK(options.threads >= 0 && options.threads <= 4096, kInvalidArgument,
            "`threads` {}: expected 0 to 4096", options.threads);
  const bool automatic = options.device == "auto";
  if (options.device == "cpu" || (automatic && !cuda_unusable_reason(0).empty()))
    return {.backend = make_cpu_backend({.threads = options.threads})};
  const std::string device = automatic ? "cuda" : options.device;
  return make_cuda(device, device_index(device));
}

std::unique_ptr<Backend> make_text_backend(const EngineOptions& options, const Backend& backend) {
  if (!options.t5_cpu || backend.device().kind == DeviceKind::kCpu) return nullptr;
  return make_cpu_backend({.threads = options.threads});
}

}  // namespace wan
