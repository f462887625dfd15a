#pragma once
// Buffer: bytes on one device with one owner. Allocator: how a device gives and takes them.

#include <cstddef>
#include <memory>

#include "tensor/device.h"

namespace wan {

/// A device's memory. Implementations are thread-safe and outlive every buffer they made.
class Allocator {
 public:
  virtual ~Allocator() = default;
  virtual Device device() const = 0;
  /// At least 64-byte aligned; contents undefined. Throws OutOfMemory, naming the size. bytes may be 0
  /// (nullptr).
  virtual std::byte* allocate(std::size_t bytes) = 0;
  virtual void release(std::byte* data, std::size_t bytes) noexcept = 0;
  /// Gives memory that was released but is kept for later back to the device. May wait for the device's work.
  virtual void trim() noexcept {}
};

/// Host memory, 64-byte aligned (a cache line and an AVX-512 register).
Allocator& cpu_allocator();

class Buffer {
 public:
  Buffer() = default;
  Buffer(Allocator& allocator, std::size_t bytes)
      : allocator_(&allocator), data_(allocator.allocate(bytes)), size_(bytes) {}
  ~Buffer();
  /// What is moved from is empty.
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }
  Device device() const { return allocator_ != nullptr ? allocator_->device() : Device{}; }

 private:
  Allocator* allocator_ = nullptr;
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace wan
