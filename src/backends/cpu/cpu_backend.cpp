#include "backends/cpu/cpu_backend.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>

#include "backends/cpu/backend_impl.h"
#include "base/memory_info.h"

namespace wan {

namespace {

/// Processors' worth of time that one control group's files grant, or 0 where there is no limit.
double quota_of(const std::string& directory) {
  if (std::ifstream file(directory + "/cpu.max"); file) {  // version 2: "quota period" or "max period"
    double quota = 0.0;
    double period = 0.0;
    if (file >> quota >> period && quota > 0.0 && period > 0.0) return quota / period;
    return 0.0;
  }
  double quota = 0.0;
  double period = 0.0;
  std::ifstream quota_file(directory + "/cpu.cfs_quota_us");  // version 1
  std::ifstream period_file(directory + "/cpu.cfs_period_us");
  if (quota_file >> quota && period_file >> period && quota > 0.0 && period > 0.0) return quota / period;
  return 0.0;
}

/// The smallest quota of this process's control group and those above it, or 0.
double control_group_quota() {
  double smallest = 0.0;
  const auto consider = [&](double quota) {
    if (quota > 0.0 && (smallest == 0.0 || quota < smallest)) smallest = quota;
  };
  consider(quota_of("/sys/fs/cgroup"));
  consider(quota_of("/sys/fs/cgroup/cpu"));
  std::ifstream groups("/proc/self/cgroup");  // lines "0::/path" (version 2), "4:cpu,cpuacct:/path" (1)
  for (std::string line; std::getline(groups, line);) {
    const std::size_t controllers = line.find(':');
    const std::size_t path = controllers == std::string::npos ? controllers : line.find(':', controllers + 1);
    if (path == std::string::npos) continue;
    const std::string names = line.substr(controllers + 1, path - controllers - 1);
    if (!names.empty() && names.find("cpu") == std::string::npos) continue;
    const std::string root = names.empty() ? "/sys/fs/cgroup" : "/sys/fs/cgroup/cpu";
    for (std::string group = line.substr(path + 1); group.size() > 1;
         group.resize(std::max<std::size_t>(group.rfind('/'), 0)))
      consider(quota_of(root + group));
  }
  return smallest;
}

}  // namespace

int available_cpus() {
  int count = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) count = std::max(1, CPU_COUNT(&allowed));
  const double quota = control_group_quota();
  if (quota > 0.0) count = std::min(count, std::max(1, static_cast<int>(std::ceil(quota))));
  return count;
}

CpuBackend::CpuBackend(int threads)
    : threads_(threads),
      kernels_(cpu_kernels()),
      short_spins_(threads > 1 ? hold_short_spins(threads) : nullptr) {}

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

std::int64_t CpuBackend::free_bytes() const {
  return available_memory_bytes();
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

std::unique_ptr<Backend> make_cpu_backend(const CpuBackendOptions& options) {
  WAN_CHECK(options.threads >= 0, kInvalidArgument,
            "[cpu] expected a number of threads, or 0 for all processors, got {}", options.threads);
  const int threads = options.threads > 0 ? options.threads : available_cpus();
  return with_dnnl_errors("cpu", [&] { return std::make_unique<CpuBackend>(threads); });
}

}  // namespace wan
