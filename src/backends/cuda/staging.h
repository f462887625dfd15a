#pragma once
// Copies between pageable host memory and the device through a few page-locked blocks.

#include <array>
#include <cstddef>
#include <mutex>

#include "backends/cuda/handles.h"

namespace wan::cuda {

/// While one block is on its way over the bus, the next is filled. Thread-safe.
class Staging {
 public:
  explicit Staging(std::size_t block_bytes) : block_bytes_(block_bytes) {}

  /// Enqueues the copy; returns when `host` may be reused. The device may still be copying.
  void upload(const std::byte* host, std::byte* device, std::size_t bytes, cudaStream_t stream);
  /// Returns when `host` is filled.
  void download(const std::byte* device, std::byte* host, std::size_t bytes, cudaStream_t stream);

 private:
  struct Block {
    PinnedMemory memory;
    Event free;  // recorded after the copy that uses the block
  };
  /// A block that the device is done with.
  Block& next();

  std::size_t block_bytes_;
  std::array<Block, 2> blocks_;
  std::size_t turn_ = 0;
  std::mutex mutex_;
};

}  // namespace wan::cuda
