#include "tensor/buffer.h"

#include <cstdlib>
#include <utility>

#include "base/error.h"

namespace wan {

namespace {

class CpuAllocator final : public Allocator {
 public:
  Device device() const override { return {}; }

  std::byte* allocate(std::size_t bytes) override {
    if (bytes == 0) return nullptr;
    constexpr std::size_t kAlignment = 64;
    void* data = nullptr;
    if (::posix_memalign(&data, kAlignment, bytes) != 0)
      fail(ErrorCode::kOutOfMemory, "cannot allocate {:.2f} GB of host memory",
           static_cast<double>(bytes) * 1e-9);
    return static_cast<std::byte*>(data);
  }

  void release(std::byte* data, std::size_t) noexcept override { std::free(data); }
};

}  // namespace

Allocator& cpu_allocator() {
  static CpuAllocator allocator;
  return allocator;
}

Buffer::~Buffer() {
  if (data_ != nullptr) allocator_->release(data_, size_);
}

Buffer::Buffer(Buffer&& other) noexcept
    : allocator_(std::exchange(other.allocator_, nullptr)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  Buffer taken(std::move(other));  // and gives back what this one held
  std::swap(allocator_, taken.allocator_);
  std::swap(data_, taken.data_);
  std::swap(size_, taken.size_);
  return *this;
}

}  // namespace wan
