#include "backends/cuda/allocator.h"

#include <cstdint>
#include <limits>

#include "backends/cuda/check.h"
#include "base/error.h"

namespace wan::cuda {

StreamAllocator::StreamAllocator(int device, cudaStream_t stream) : device_(device), stream_(stream) {
  int has_pools = 0;
  WAN_CUDA(cudaDeviceGetAttribute(&has_pools, cudaDevAttrMemoryPoolsSupported, device));
  if (has_pools == 0) return;
  WAN_CUDA(cudaDeviceGetDefaultMemPool(&pool_, device));
  std::uint64_t keep = std::numeric_limits<std::uint64_t>::max();
  WAN_CUDA(cudaMemPoolSetAttribute(pool_, cudaMemPoolAttrReleaseThreshold, &keep));
}

StreamAllocator::~StreamAllocator() {
  trim();
}

cudaError_t StreamAllocator::try_allocate(void** data, std::size_t bytes) {
  const cudaError_t status =
      pool_ != nullptr ? cudaMallocAsync(data, bytes, stream_) : cudaMalloc(data, bytes);
  if (status == cudaErrorMemoryAllocation) cudaGetLastError();
  return status;
}

std::byte* StreamAllocator::allocate(std::size_t bytes) {
  if (bytes == 0) return nullptr;
  WAN_CUDA(cudaSetDevice(device_));
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
        "{:.2f} GB; a --memory_limit below what is free, --residency streamed or a smaller --size needs less",
        gigabytes(bytes), device_, gigabytes(free_bytes), gigabytes(total_bytes), gigabytes(used()));
  }
  check(status, "cudaMallocAsync", __FILE__, __LINE__);
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
  cudaSetDevice(device_);
  if (pool_ != nullptr)
    cudaFreeAsync(data, stream_);
  else
    cudaFree(data);
}

void StreamAllocator::trim() noexcept {
  if (pool_ == nullptr) return;
  // Errors here are those of earlier kernels; the next checked call reports them.
  cudaSetDevice(device_);
  cudaStreamSynchronize(stream_);
  cudaMemPoolTrimTo(pool_, 0);
}

}  // namespace wan::cuda
