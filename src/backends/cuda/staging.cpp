#include "backends/cuda/staging.h"

#include <algorithm>
#include <cstring>

namespace wan::cuda {

Staging::Block& Staging::next() {
  Block& block = blocks_[turn_++ % blocks_.size()];
  if (block.memory.data() == nullptr) block.memory = PinnedMemory(block_bytes_);
  block.free.synchronize();
  return block;
}

void Staging::upload(const std::byte* host, std::byte* device, std::size_t bytes, cudaStream_t stream) {
  const std::scoped_lock lock(mutex_);
  for (std::size_t done = 0; done < bytes;) {
    const std::size_t count = std::min(block_bytes_, bytes - done);
    Block& block = next();
    std::memcpy(block.memory.data(), host + done, count);
    WAN_CUDA(cudaMemcpyAsync(device + done, block.memory.data(), count, cudaMemcpyHostToDevice, stream));
    block.free.record(stream);
    done += count;
  }
}

void Staging::download(const std::byte* device, std::byte* host, std::size_t bytes, cudaStream_t stream) {
  const std::scoped_lock lock(mutex_);
  Block* pending = nullptr;  // its bytes are to be copied to host + copied
  std::size_t copied = 0;
  std::size_t pending_count = 0;
  for (std::size_t done = 0; done < bytes || pending != nullptr;) {
    Block* started = nullptr;
    std::size_t count = 0;
    if (done < bytes) {
      count = std::min(block_bytes_, bytes - done);
      started = &next();
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
