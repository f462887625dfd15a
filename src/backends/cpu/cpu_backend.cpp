#include "backends/cpu/cpu_backend.h"

#include <malloc.h>
#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <thread>

#include "backends/cpu/backend_impl.h"
#include "base/cgroup.h"
#include "base/memory_info.h"

namespace wan {

int available_cpus() {
  int count = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) count = std::max(1, CPU_COUNT(&allowed));
  const double quota = processor_quota();
  if (quota > 0.0) count = std::min(count, std::max(1, static_cast<int>(std::ceil(quota))));
  return count;
}

CpuBackend::CpuBackend(int threads)
    : threads_(threads),
      kernels_(cpu_kernels()),
      short_spins_(threads > 1 ? hold_short_spins(threads) : nullptr),
      private_before_(private_bytes()) {}

std::byte* CountedHostMemory::allocate(std::size_t bytes) {
  std::byte* const data = cpu_allocator().allocate(bytes);
  count_.add(bytes);
  return data;
}

void CountedHostMemory::release(std::byte* data, std::size_t bytes) noexcept {
  if (data == nullptr) return;
  count_.remove(bytes);
  cpu_allocator().release(data, bytes);
}

void CountedHostMemory::trim() noexcept {
#ifdef __GLIBC__
  ::malloc_trim(0);  // by itself it gives back the heap's end alone
#endif
}

// What no plan counts (tokenizer, encoder, oneDNN's code, what the heap keeps) was not taken yet when an engine made its first plan.
// It must not make the second one smaller, or blocks would move where memory only just suffices.
std::int64_t CpuBackend::free_bytes() const {
  constexpr std::int64_t kMostUncounted = std::int64_t{512} << 20;
  const std::int64_t uncounted = private_bytes() - private_before_ - memory_.count().now();
  return available_memory_bytes() + std::clamp(uncounted, std::int64_t{0}, kMostUncounted);
}

void CpuBackend::upload(const TensorView& host, const TensorView& device) {
  WAN_CHECK(host.dtype() == device.dtype() && host.elements() == device.elements() && host.is_contiguous() &&
                device.is_contiguous(),
            kInternal, "[cpu] expected contiguous views of one dtype and size, got {} {} and {} {}",
            dtype_name(host.dtype()), host.shape().to_string(), dtype_name(device.dtype()),
            device.shape().to_string());
  if (host.bytes() > 0) std::memmove(device.data(), host.data(), host.bytes());
}

void CpuBackend::download(const TensorView& device, const TensorView& host) {
  upload(device, host);
}

const char* cpu_instruction_set() {
  return cpu_kernels().name;
}

std::unique_ptr<Backend> make_cpu_backend(const CpuBackendOptions& options) {
  WAN_CHECK(options.threads >= 0, kInvalidArgument,
            "[cpu] expected a number of threads, or 0 for all processors, got {}", options.threads);
  const int threads = options.threads > 0 ? options.threads : available_cpus();
  return with_dnnl_errors("cpu", [&] { return std::make_unique<CpuBackend>(threads); });
}

}  // namespace wan
