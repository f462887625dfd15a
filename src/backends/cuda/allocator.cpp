#include "backends/cuda/allocator.h"

#include <cstdint>
#include <limits>

#include "backends/cuda/handles.h"
#include "base/error.h"

namespace wan::cuda {

StreamAllocator::StreamAllocator(int device, cudaStream_t stream) : device_(device), stream_(stream) {
  int has_pools = 0;
  WAN_CUDA(cudaDeviceGetAttribute(&has_pools, cudaDevAttrMemoryPoolsSupported, device));
  if (has_pools == 0) return;
  cudaMemPoolProps properties{};
  properties.allocType = cudaMemAllocationTypePinned;
  properties.location.type = cudaMemLocationTypeDevice;
  properties.location.id = device;
  WAN_CUDA(cudaMemPoolCreate(&pool_, &properties));
  std::uint64_t keep = std::numeric_limits<std::uint64_t>::max();
  WAN_CUDA(cudaMemPoolSetAttribute(pool_, cudaMemPoolAttrReleaseThreshold, &keep));
}

StreamAllocator::~StreamAllocator() {
  trim();
  if (pool_ != nullptr) cudaMemPoolDestroy(pool_);
}

cudaError_t StreamAllocator::try_allocate(void** data, std::size_t bytes) {
  const cudaError_t status =
      pool_ != nullptr ? cudaMallocFromPoolAsync(data, bytes, pool_, stream_) : cudaMalloc(data, bytes);
  if (status == cudaErrorMemoryAllocation) cudaGetLastError();
  return status;
}

std::byte* StreamAllocator::allocate(std::size_t bytes) {
  if (bytes == 0) return nullptr;
  const CurrentDevice here(device_);
  void* data = nullptr;
  cudaError_t status = try_allocate(&data, bytes);
  if (status == cudaErrorMemoryAllocation) {
    trim();  // what the pool keeps may be in pieces that are too small
    status = try_allocate(&data, bytes);
  }
  if (status == cudaErrorMemoryAllocation) {
    std::size_t free_bytes = 0;
    std::size_t total_bytes = 0;
    WAN_CUDA(cudaMemGetInfo(&free_bytes, &total_bytes));
    const auto gigabytes = [](std::size_t n) { return static_cast<double>(n) * 1e-9; };
    fail(
        ErrorCode::kOutOfMemory,
        "cannot allocate {:.2f} GB of device memory on cuda:{}: {:.2f} GB of {:.2f} GB are free, this "
        "program holds "
        "{:.2f} GB; a `memory_limit` below what is free, `residency` streamed or a smaller `size` needs less",
        gigabytes(bytes), device_, gigabytes(free_bytes), gigabytes(total_bytes), gigabytes(used()));
  }
  check(status, "cudaMallocFromPoolAsync", __FILE__, __LINE__);
  const std::size_t now = used_.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  std::size_t before = peak_.load(std::memory_order_relaxed);
  while (before < now && !peak_.compare_exchange_weak(before, now, std::memory_order_relaxed)) {
  }
  return static_cast<std::byte*>(data);
}

void StreamAllocator::release(std::byte* data, std::size_t bytes) noexcept {
  if (data == nullptr) return;
  used_.fetch_sub(bytes, std::memory_order_relaxed);
  // Errors here are those of earlier kernels; the next checked call reports them.
  const CurrentDevice here(device_, std::nothrow);
  if (pool_ != nullptr)
    cudaFreeAsync(data, stream_);
  else
    cudaFree(data);
}

void StreamAllocator::share_with(int device) {
  int reachable = 0;
  WAN_CUDA(cudaDeviceCanAccessPeer(&reachable, device, device_));
  WAN_CHECK(reachable != 0 && pool_ != nullptr, kUnsupported,
            "cuda:{} cannot read the memory of cuda:{}: they have no direct link that the driver uses",
            device, device_);
  cudaMemAccessDesc access{};
  access.location.type = cudaMemLocationTypeDevice;
  access.location.id = device;
  access.flags = cudaMemAccessFlagsProtReadWrite;
  WAN_CUDA(cudaMemPoolSetAccess(pool_, &access, 1));
}

void StreamAllocator::trim() noexcept {
  if (pool_ == nullptr) return;
  // Errors here are those of earlier kernels; the next checked call reports them.
  const CurrentDevice here(device_, std::nothrow);
  cudaStreamSynchronize(stream_);
  cudaMemPoolTrimTo(pool_, 0);
}

std::size_t StreamAllocator::kept() const {
  if (pool_ == nullptr) return 0;
  std::uint64_t reserved = 0;
  std::uint64_t in_use = 0;
  WAN_CUDA(cudaMemPoolGetAttribute(pool_, cudaMemPoolAttrReservedMemCurrent, &reserved));
  WAN_CUDA(cudaMemPoolGetAttribute(pool_, cudaMemPoolAttrUsedMemCurrent, &in_use));
  return reserved > in_use ? reserved - in_use : 0;
}

std::byte* PinnedAllocator::allocate(std::size_t bytes) {
  if (bytes == 0) return nullptr;
  const CurrentDevice here(by_device_);
  void* data = nullptr;
  const cudaError_t status = cudaHostAlloc(&data, bytes, cudaHostAllocPortable);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    fail(ErrorCode::kOutOfMemory,
         "{:.3f} GB of the host's memory could not be locked for the GPUs to exchange through; allow more "
         "(ulimit -l), "
         "or use fewer GPUs",
         static_cast<double>(bytes) * 1e-9);
  }
  check(status, "cudaHostAlloc", __FILE__, __LINE__);
  return static_cast<std::byte*>(data);
}

void PinnedAllocator::release(std::byte* data, std::size_t) noexcept {
  if (data == nullptr) return;
  const CurrentDevice here(by_device_, std::nothrow);
  cudaFreeHost(data);
}

}  // namespace wan::cuda
