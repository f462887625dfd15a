#pragma once
// Device memory from a stream-ordered pool of the driver.

#include <atomic>

#include "tensor/buffer.h"

#include <cuda_runtime_api.h>

namespace wan::cuda {

/// Allocates and releases in the order of one stream: memory may be released while kernels of that stream still use it.
/// What is released stays in the pool, so that taking it again costs no call of the driver. The pool is this allocator's own:
/// what else the process does with the device keeps its settings. Where the device has no pools (some virtual GPUs), cudaMalloc and
/// cudaFree, which wait for the device.
class StreamAllocator final : public Allocator {
 public:
  /// The device must be current.
  StreamAllocator(int device, cudaStream_t stream);
  /// Gives what is kept back to the driver.
  ~StreamAllocator() override;
  StreamAllocator(const StreamAllocator&) = delete;
  StreamAllocator& operator=(const StreamAllocator&) = delete;

  Device device() const override { return {DeviceKind::kCuda, device_}; }
  /// 256-byte aligned. Throws OutOfMemory with the sizes asked for, free and in use.
  std::byte* allocate(std::size_t bytes) override;
  void release(std::byte* data, std::size_t bytes) noexcept override;

  /// Lets another device copy from this memory. Throws Unsupported, with the reason.
  void share_with(int device);
  /// Waits for the stream.
  void trim() noexcept override;
  /// Bytes of the device that were released and are kept for later. Throws Device.
  std::size_t kept() const;
  std::size_t used() const { return used_.load(std::memory_order_relaxed); }
  std::size_t peak() const { return peak_.load(std::memory_order_relaxed); }

 private:
  cudaError_t try_allocate(void** data, std::size_t bytes);

  int device_;
  cudaStream_t stream_;
  cudaMemPool_t pool_ = nullptr;  // or none
  std::atomic<std::size_t> used_{0};
  std::atomic<std::size_t> peak_{0};
};

/// Page-locked memory of the host, for all devices alike; taken by way of one of them, so that no other gets a context for it. It may wait
/// for them.
class PinnedAllocator final : public Allocator {
 public:
  explicit PinnedAllocator(int by_device) : by_device_(by_device) {}
  Device device() const override { return {}; }
  std::byte* allocate(std::size_t bytes) override;
  void release(std::byte* data, std::size_t bytes) noexcept override;

 private:
  int by_device_;
};

}  // namespace wan::cuda
