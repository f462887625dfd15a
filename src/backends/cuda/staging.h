#pragma once
// Copies between pageable host memory and the device through a few page-locked blocks.

#include <array>
#include <atomic>
#include <cstddef>
#include <mutex>

#include "backends/cuda/handles.h"
#include "tensor/tensor.h"

namespace wan::cuda {

/// While one block is on its way over the bus, the next ones are filled. Thread-safe; threads that upload at the same time fill
/// blocks at the same time.
class Staging {
 public:
  static constexpr std::size_t kBlockBytes = std::size_t{4} << 20;
  /// Their page-locked memory is taken when they are first used.
  static constexpr std::size_t kUploadBlocks = 16;
  static constexpr std::size_t kDownloadBlocks = 2;

  /// Enqueues the copy of `bytes` that `source` writes; returns when it is called no more. The device may still be copying.
  void upload(const UploadSource& source, std::byte* device, std::size_t bytes, cudaStream_t stream);
  /// Returns when `host` is filled.
  void download(const std::byte* device, std::byte* host, std::size_t bytes, cudaStream_t stream);

 private:
  struct Block {
    PinnedMemory memory;
    Event free;  // recorded after the copy that uses the block
    std::mutex mutex;
    /// Waits until the device is done with the memory.
    void prepare();
  };
  /// A block for uploads, locked for the caller.
  Block& take(std::unique_lock<std::mutex>& lock);

  std::array<Block, kUploadBlocks> uploads_;
  std::atomic<std::size_t> turn_{0};
  std::array<Block, kDownloadBlocks> downloads_;
  std::mutex downloading_;
};

}  // namespace wan::cuda
