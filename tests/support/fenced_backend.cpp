#include "support/fenced_backend.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

namespace wan::test {

namespace {

std::size_t whole_pages(std::size_t bytes) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return (bytes + page - 1) / page * page;
}

void check_transfer(const TensorView& from, const TensorView& to, const TensorView& host) {
  WAN_CHECK(from.is_contiguous() && to.is_contiguous() && from.dtype() == to.dtype() &&
                from.elements() == to.elements() && from.device() != to.device() &&
                host.device().kind == DeviceKind::kCpu,
            kInternal, "[fenced] a transfer of {} to {}", from.shape().to_string(), to.shape().to_string());
}

}  // namespace

std::byte* FencedMemory::allocate(std::size_t bytes) {
  if (bytes == 0) return nullptr;
  const std::scoped_lock lock(mutex_);
  const int rights = openings_ > 0 ? PROT_READ | PROT_WRITE : PROT_NONE;
  const std::size_t size = whole_pages(bytes);
  void* const data = ::mmap(nullptr, size, rights, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  WAN_CHECK(data != MAP_FAILED, kOutOfMemory, "[fenced] cannot map {} bytes", size);
  blocks_[static_cast<std::byte*>(data)] = size;
  count_.add(bytes);
  return static_cast<std::byte*>(data);
}

void FencedMemory::release(std::byte* data, std::size_t bytes) noexcept {
  if (data == nullptr) return;
  count_.remove(bytes);
  const std::scoped_lock lock(mutex_);
  ::munmap(data, blocks_[data]);
  blocks_.erase(data);
}

void FencedMemory::open() {
  const std::scoped_lock lock(mutex_);
  if (openings_++ == 0) protect(PROT_READ | PROT_WRITE);
}

void FencedMemory::close() {
  const std::scoped_lock lock(mutex_);
  if (--openings_ == 0) protect(PROT_NONE);
}

void FencedMemory::protect(int rights) const {
  for (const auto& [data, size] : blocks_) ::mprotect(data, size, rights);
}

void FencedBase::upload(const TensorView& host, const TensorView& device) {
  check_transfer(host, device, host);
  const FencedMemory::Opening opening(memory_);
  std::memcpy(device.data(), host.data(), host.bytes());
}

void FencedBase::download(const TensorView& device, const TensorView& host) {
  check_transfer(device, host, host);
  const FencedMemory::Opening opening(memory_);
  std::memcpy(host.data(), device.data(), host.bytes());
}

TensorView FencedBase::on_host(const TensorView& view) {
  if (!view) return view;
  return TensorView(view.data(), view.dtype(), view.shape(), view.strides(), Device{});
}

}  // namespace wan::test
