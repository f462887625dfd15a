#include "backends/cuda/staging.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace wan::cuda {

void Staging::Block::prepare() {
  if (memory.data() == nullptr) memory = PinnedMemory(kBlockBytes);
  free.synchronize();
}

// The one whose turn it is, or where another thread has that, the next that nobody has: so no thread waits for one that waits
// for a disk, as long as there are as many blocks as threads.
Staging::Block& Staging::take(std::unique_lock<std::mutex>& lock) {
  const std::size_t turn = turn_.fetch_add(1, std::memory_order_relaxed);
  for (std::size_t i = 0; i < kUploadBlocks; ++i) {
    Block& block = uploads_[(turn + i) % kUploadBlocks];
    lock = std::unique_lock(block.mutex, std::try_to_lock);
    if (lock.owns_lock()) return block;
  }
  Block& block = uploads_[turn % kUploadBlocks];
  lock = std::unique_lock(block.mutex);
  return block;
}

void Staging::upload(const UploadSource& source, std::byte* device, std::size_t bytes, cudaStream_t stream) {
  for (std::size_t done = 0; done < bytes;) {
    const std::size_t count = std::min(kBlockBytes, bytes - done);
    std::unique_lock<std::mutex> lock;
    Block& block = take(lock);
    block.prepare();
    source(block.memory.data(), done, count);
    WAN_CUDA(cudaMemcpyAsync(device + done, block.memory.data(), count, cudaMemcpyHostToDevice, stream));
    block.free.record(stream);
    done += count;
  }
}

void Staging::download(const std::byte* device, std::byte* host, std::size_t bytes, cudaStream_t stream) {
  const std::scoped_lock lock(downloading_);
  std::size_t turn = 0;
  Block* pending = nullptr;  // its bytes are to be copied to host + copied
  std::size_t copied = 0;
  std::size_t pending_count = 0;
  for (std::size_t done = 0; done < bytes || pending != nullptr;) {
    Block* started = nullptr;
    std::size_t count = 0;
    if (done < bytes) {
      count = std::min(kBlockBytes, bytes - done);
      started = &downloads_[turn++ % kDownloadBlocks];
      started->prepare();
      WAN_CUDA(cudaMemcpyAsync(started->memory.data(), device + done, count, cudaMemcpyDeviceToHost, stream));
      started->free.record(stream);
      done += count;
    }
    if (pending != nullptr) {
      pending->free.synchronize();
      std::memcpy(host + copied, pending->memory.data(), pending_count);
      copied += pending_count;
    }
    pending = started;
    pending_count = count;
  }
}

}  // namespace wan::cuda
