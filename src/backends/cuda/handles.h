#pragma once
// Owners of the CUDA runtime's handles.

#include <cstddef>
#include <new>
#include <utility>

#include "backends/cuda/check.h"

namespace wan::cuda {

/// Makes a device the calling thread's current one for a scope, and the one that was it again.
class CurrentDevice {
 public:
  explicit CurrentDevice(int device) : CurrentDevice(device, std::nothrow) {
    check(status_, "cudaSetDevice(device)", __FILE__, __LINE__);
  }
  /// Where nothing may be thrown: the caller looks at status(), or goes on and leaves it to the next checked call.
  CurrentDevice(int device, std::nothrow_t) noexcept {
    status_ = cudaGetDevice(&before_);
    if (status_ != cudaSuccess) return;
    // Also where it is the current one already: only this gives a new thread a context, which the driver's own functions need.
    status_ = cudaSetDevice(device);
    changed_ = status_ == cudaSuccess && before_ != device;
  }
  ~CurrentDevice() {
    if (changed_) cudaSetDevice(before_);
  }
  CurrentDevice(const CurrentDevice&) = delete;
  CurrentDevice& operator=(const CurrentDevice&) = delete;
  cudaError_t status() const { return status_; }

 private:
  cudaError_t status_ = cudaSuccess;
  int before_ = 0;
  bool changed_ = false;
};

/// A stream that does not wait for the legacy default stream.
class Stream {
 public:
  Stream() { WAN_CUDA(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
  ~Stream() {
    if (stream_ != nullptr) cudaStreamDestroy(stream_);
  }
  Stream(Stream&& other) noexcept : stream_(std::exchange(other.stream_, nullptr)) {}
  Stream& operator=(Stream&& other) noexcept {
    std::swap(stream_, other.stream_);
    return *this;
  }
  operator cudaStream_t() const { return stream_; }  // NOLINT: used wherever the runtime takes one

 private:
  cudaStream_t stream_ = nullptr;
};

/// A mark in a stream.
class Event {
 public:
  enum class Kind { kUntimed, kTimed };
  explicit Event(Kind kind = Kind::kUntimed) {
    WAN_CUDA(
        cudaEventCreateWithFlags(&event_, kind == Kind::kTimed ? cudaEventDefault : cudaEventDisableTiming));
  }
  ~Event() {
    if (event_ != nullptr) cudaEventDestroy(event_);
  }
  Event(Event&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}
  Event& operator=(Event&& other) noexcept {
    std::swap(event_, other.event_);
    return *this;
  }
  void record(cudaStream_t stream) { WAN_CUDA(cudaEventRecord(event_, stream)); }
  /// Waits on the host. Returns at once where nothing was recorded.
  void synchronize() const { WAN_CUDA(cudaEventSynchronize(event_)); }
  /// Whether the device has come to it. True where nothing was recorded.
  bool is_over() const {
    const cudaError_t status = cudaEventQuery(event_);
    if (status != cudaErrorNotReady) {
      WAN_CUDA(status);
      return true;
    }
    static_cast<void>(cudaGetLastError());  // or the next launch's check finds it
    return false;
  }
  /// Between two marks that are timed; waits for this one on the host.
  float milliseconds_since(const Event& before) {
    synchronize();
    float milliseconds = 0.0f;
    WAN_CUDA(cudaEventElapsedTime(&milliseconds, before.event_, event_));
    return milliseconds;
  }
  operator cudaEvent_t() const { return event_; }  // NOLINT

 private:
  cudaEvent_t event_ = nullptr;
};

/// Page-locked host memory, which the device copies from and to while the host goes on.
class PinnedMemory {
 public:
  PinnedMemory() = default;
  explicit PinnedMemory(std::size_t bytes) : size_(bytes) {
    void* data = nullptr;
    WAN_CUDA(cudaHostAlloc(&data, bytes, cudaHostAllocDefault));
    data_ = static_cast<std::byte*>(data);
  }
  ~PinnedMemory() {
    if (data_ != nullptr) cudaFreeHost(data_);
  }
  PinnedMemory(PinnedMemory&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  PinnedMemory& operator=(PinnedMemory&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace wan::cuda
