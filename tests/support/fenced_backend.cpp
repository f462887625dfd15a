#include "support/fenced_backend.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

namespace wan::test {

namespace {

constexpr std::size_t kRegion = std::size_t{1} << 36;

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

FencedMemory::FencedMemory() {
  void* const region =
      ::mmap(nullptr, kRegion, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  WAN_CHECK(region != MAP_FAILED, kOutOfMemory, "[fenced] cannot reserve {} bytes of addresses", kRegion);
  region_ = static_cast<std::byte*>(region);
}

FencedMemory::~FencedMemory() {
  ::munmap(region_, kRegion);
}

std::byte* FencedMemory::allocate(std::size_t bytes) {
  if (bytes == 0) return nullptr;
  const std::scoped_lock lock(mutex_);
  const std::size_t size = whole_pages(bytes);
  std::byte* data = region_;
  for (const auto& [begin, taken] : blocks_) {  // the first gap that is wide enough
    if (static_cast<std::size_t>(begin - data) >= size) break;
    data = begin + taken;
  }
  WAN_CHECK(static_cast<std::size_t>(region_ + kRegion - data) >= size, kOutOfMemory,
            "[fenced] no {} bytes of addresses are left", size);
  if (openings_ > 0) ::mprotect(data, size, PROT_READ | PROT_WRITE);
  blocks_[data] = size;
  count_.add(bytes);
  return data;
}

void FencedMemory::release(std::byte* data, std::size_t bytes) noexcept {
  if (data == nullptr) return;
  count_.remove(bytes);
  const std::scoped_lock lock(mutex_);
  const std::size_t size = blocks_[data];
  ::madvise(data, size, MADV_DONTNEED);
  ::mprotect(data, size, PROT_NONE);
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
  for (auto block = blocks_.begin(); block != blocks_.end();) {
    std::byte* const begin = block->first;
    std::byte* end = begin;
    for (; block != blocks_.end() && block->first == end; ++block) end += block->second;
    ::mprotect(begin, static_cast<std::size_t>(end - begin), rights);
  }
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
