#include "support/fenced_backend.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

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
  const int pages = ::memfd_create("fenced", MFD_CLOEXEC);
  WAN_CHECK(pages >= 0 && ::ftruncate(pages, static_cast<off_t>(kRegion)) == 0, kOutOfMemory,
            "[fenced] no memory of two places: {}", std::generic_category().message(errno));
  void* const front = ::mmap(nullptr, kRegion, PROT_NONE, MAP_SHARED | MAP_NORESERVE, pages, 0);
  void* const behind = ::mmap(nullptr, kRegion, PROT_NONE, MAP_SHARED | MAP_NORESERVE, pages, 0);
  ::close(pages);
  WAN_CHECK(front != MAP_FAILED && behind != MAP_FAILED, kOutOfMemory,
            "[fenced] cannot reserve {} bytes of addresses twice", kRegion);
  front_ = static_cast<std::byte*>(front);
  behind_ = static_cast<std::byte*>(behind);
}

FencedMemory::~FencedMemory() {
  ::munmap(front_, kRegion);
  ::munmap(behind_, kRegion);
}

std::byte* FencedMemory::allocate(std::size_t bytes) {
  if (bytes == 0) return nullptr;
  const std::scoped_lock lock(mutex_);
  const std::size_t size = whole_pages(bytes);
  std::byte* data = front_;
  for (const auto& [begin, taken] : blocks_) {  // the first gap that is wide enough
    if (static_cast<std::size_t>(begin - data) >= size) break;
    data = begin + taken;
  }
  WAN_CHECK(static_cast<std::size_t>(front_ + kRegion - data) >= size, kOutOfMemory,
            "[fenced] no {} bytes of addresses are left", size);
  ::mprotect(behind(data), size, PROT_READ | PROT_WRITE);
  blocks_[data] = size;
  count_.add(bytes);
  return data;
}

void FencedMemory::release(std::byte* data, std::size_t bytes) noexcept {
  if (data == nullptr) return;
  count_.remove(bytes);
  const std::scoped_lock lock(mutex_);
  const std::size_t size = blocks_[data];
  ::madvise(behind_ + (data - front_), size, MADV_REMOVE);
  ::mprotect(behind(data), size, PROT_NONE);
  blocks_.erase(data);
}

void FencedMemory::leave_open() {
  const std::scoped_lock lock(mutex_);
  WAN_CHECK(blocks_.empty(), kInternal, "[fenced] the fence is left open before anything stands behind it");
  open_ = true;
}

void FencedBase::upload(const TensorView& host, const TensorView& device) {
  check_transfer(host, device, host);
  std::memcpy(on_host(device).data(), host.data(), host.bytes());
}

void FencedBase::download(const TensorView& device, const TensorView& host) {
  check_transfer(device, host, host);
  std::memcpy(host.data(), on_host(device).data(), host.bytes());
}

TensorView FencedBase::on_host(const TensorView& view) const {
  if (!view) return view;
  return TensorView(memory_.behind(view.data()), view.dtype(), view.shape(), view.strides(), Device{});
}

FencedBackend::FencedBackend(std::unique_ptr<Backend> inner) : OverEveryOp(std::move(inner)) {}

FencedBackend::~FencedBackend() = default;

}  // namespace wan::test
