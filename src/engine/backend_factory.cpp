#include "engine/backend_factory.h"

#include <algorithm>
#include <charconv>
#include <thread>

#include "backends/cpu/cpu_backend.h"
#include "backends/cuda/cuda_backend.h"
#include "engine/layout_choice.h"
#include "parallel/partition.h"

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
ChosenBackend make_cuda(int index, const MessagePart& asked, const CudaBackendOptions& options) {
  const std::string reason = cuda_unusable_reason(index);
  WAN_CHECK(reason.empty(), kUnsupported, "{}: {}", asked, MessagePart{reason});
  const CudaDeviceInfo info = cuda_device_info(index);
  CudaBackendOptions own = options;
  own.device = index;
  return {.backend = make_cuda_backend(own),
          .grid = {info.multiprocessors, info.threads_per_multiprocessor},
          .utilization = [index] { return cuda_utilization(index); }};
}

/// Those of a machine's that are this process's.
std::vector<int> gpus_of(const EngineOptions& options, const ProcessPlace& place) {
  const std::vector<int>& gpus = options.gpus;
  WAN_CHECK(
      gpus.empty() || gpus.size() >= static_cast<std::size_t>(place.local_size), kInvalidArgument,
      "`gpus` names {}, for {} processes on this machine; start one process a machine, or at most one a GPU",
      gpus.size(), place.local_size);
  const Range share = even_share(static_cast<std::int64_t>(gpus.size()), place.local_size, place.local_rank);
  return {gpus.begin() + share.begin, gpus.begin() + share.end};
}

/// Of one of several processes; all of them have as many as are asked for, or one each.
int process_rank_count(const EngineOptions& options, std::size_t gpus, const ProcessPlace& place) {
  check_gpus(options);
  if (gpus > 0) return static_cast<int>(gpus);
  const int asked = rank_count(options);
  WAN_CHECK(options.ulysses_size == 0 || asked >= place.processes, kInvalidArgument,
            "`ulysses_size` {}: {} processes were started, and each has a rank at least; start fewer, or ask "
            "for more",
            options.ulysses_size, place.processes);
  return static_cast<int>(
      even_share(std::max(asked, place.processes), place.processes, place.process).size());
}

bool runs_on_cpu(const EngineOptions& options) {
  return options.device == "cpu" || (options.device == "auto" && !cuda_unusable_reason(0).empty());
}

/// Threads of each rank; 0: as many as this process may use. Processes share a machine's processors unless their launcher has bound
/// each to its own.
int threads_of(int all, int ranks, const ProcessPlace& place) {
  if (ranks == 1 && (all > 0 || place.local_size == 1)) return all;
  const int cpus = available_cpus();
  const bool bound = cpus < static_cast<int>(std::thread::hardware_concurrency());
  const int usable = bound ? cpus : std::max(1, cpus / place.local_size);
  return std::max(1, (all > 0 ? all : usable) / ranks);
}

/// The first of the GPUs that a process takes of those that it sees. Launchers may show each process its own alone.
int first_gpu(int ranks, const ProcessPlace& place) {
  return cuda_device_count() > ranks ? place.local_rank * ranks : 0;
}

std::vector<ChosenBackend> make_backends(const EngineOptions& options, const ProcessPlace& place,
                                         const CudaBackendOptions& of_cuda) {
  WAN_CHECK(options.threads >= 0 && options.threads <= 4096, kInvalidArgument,
            "`threads` {}: expected 0 to 4096", options.threads);
  const std::vector<int> gpus = gpus_of(options, place);
  const int ranks =
      place.processes == 1 ? rank_count(options) : process_rank_count(options, gpus.size(), place);
  std::vector<ChosenBackend> backends;
  if (gpus.empty() && runs_on_cpu(options)) {
    for (int rank = 0; rank < ranks; ++rank)
      backends.push_back(
          {.backend = make_cpu_backend({.threads = threads_of(options.threads, ranks, place)})});
    return backends;
  }
  for (const int gpu : gpus) backends.push_back(make_cuda(gpu, {fmt::format("`gpus` {}", gpu)}, of_cuda));
  const std::string device = options.device == "auto" ? "cuda" : options.device;
  for (int next = first_gpu(ranks, place); backends.size() < static_cast<std::size_t>(ranks); ++next) {
    const int gpu = device_index(device) + next;
    backends.push_back(make_cuda(gpu,
                                 ranks == 1 ? MessagePart{fmt::format("`device` {}", literal_text(device))}
                                            : MessagePart{fmt::format("{} ranks need cuda:{}", ranks, gpu)},
                                 of_cuda));
  }
  return backends;
}

}  // namespace

std::vector<ChosenBackend> make_backends(const EngineOptions& options, const ProcessPlace& place) {
  return make_backends(options, place, {});
}

ChosenBackend make_backend(const EngineOptions& options, BackendUse use) {
  const CudaBackendOptions of_cuda{.tf32_convolutions = use != BackendUse::kCoordinates,
                                   .tune = use != BackendUse::kFewProducts};
  return std::move(make_backends(options, {}, of_cuda).front());
}

std::unique_ptr<Backend> make_text_backend(const EngineOptions& options, const Backend& backend) {
  if (!options.t5_cpu || backend.device().kind == DeviceKind::kCpu) return nullptr;
  return make_cpu_backend({.threads = options.threads});
}

}  // namespace wan
