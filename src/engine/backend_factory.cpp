#include "engine/backend_factory.h"

#include <algorithm>
#include <charconv>

#include "backends/cpu/cpu_backend.h"
#include "backends/cuda/cuda_backend.h"
#include "engine/layout_choice.h"

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

/// `asked`: the member that names it, and how.
ChosenBackend make_cuda(int index, const MessagePart& asked) {
  const std::string reason = cuda_unusable_reason(index);
  WAN_CHECK(reason.empty(), kUnsupported, "{}: {}", asked, MessagePart{reason});
  const CudaDeviceInfo info = cuda_device_info(index);
  return {.backend = make_cuda_backend({.device = index}),
          .grid = {info.multiprocessors, info.threads_per_multiprocessor},
          .utilization = [index] { return cuda_utilization(index); }};
}

bool runs_on_cpu(const EngineOptions& options) {
  return options.device == "cpu" || (options.device == "auto" && !cuda_unusable_reason(0).empty());
}

/// Threads of each rank; 0: as many as this process may use.
int threads_of(int all, int ranks) {
  if (ranks == 1) return all;
  return std::max(1, (all > 0 ? all : available_cpus()) / ranks);
}

}  // namespace

std::vector<ChosenBackend> make_backends(const EngineOptions& options) {
  WAN_CHECK(options.threads >= 0 && options.threads <= 4096, kInvalidArgument,
            "`threads` {}: expected 0 to 4096", options.threads);
  const int ranks = rank_count(options);
  std::vector<ChosenBackend> backends;
  if (options.gpus.empty() && runs_on_cpu(options)) {
    for (int rank = 0; rank < ranks; ++rank)
      backends.push_back({.backend = make_cpu_backend({.threads = threads_of(options.threads, ranks)})});
    return backends;
  }
  for (const int gpu : options.gpus) backends.push_back(make_cuda(gpu, {fmt::format("`gpus` {}", gpu)}));
  const std::string device = options.device == "auto" ? "cuda" : options.device;
  for (int next = 0; backends.size() < static_cast<std::size_t>(ranks); ++next) {
    const int gpu = device_index(device) + next;
    backends.push_back(make_cuda(gpu, ranks == 1
                                          ? MessagePart{fmt::format("`device` {}", literal_text(device))}
                                          : MessagePart{fmt::format("{} ranks need cuda:{}", ranks, gpu)}));
  }
  return backends;
}

ChosenBackend make_backend(const EngineOptions& options) {
  return std::move(make_backends(options).front());
}

std::unique_ptr<Backend> make_text_backend(const EngineOptions& options, const Backend& backend) {
  if (!options.t5_cpu || backend.device().kind == DeviceKind::kCpu) return nullptr;
  return make_cpu_backend({.threads = options.threads});
}

}  // namespace wan
