#include "base/mapping_guard.h"

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <utility>

namespace wan {

/// Used again and never freed: a signal handler may be among them at any time.
struct GuardedRange {
  std::atomic<bool> taken{true};
  std::atomic<const std::byte*> data{nullptr};  // nullptr: guards nothing
  std::atomic<std::size_t> size{0};
  std::atomic<bool> lost{false};
  GuardedRange* next = nullptr;
};

namespace {

std::atomic<GuardedRange*> all_ranges{nullptr};
std::uintptr_t page_bytes = 0;
struct sigaction before {};  // what SIGBUS did

/// In a signal handler: atomics and mmap() alone.
bool replace_lost_pages(std::byte* address) {
  for (GuardedRange* range = all_ranges; range != nullptr; range = range->next) {
    const std::byte* const data = range->data;
    if (data == nullptr || address < data || address >= data + range->size) continue;
    range->lost = true;
    // All to the end at once: a page at a time a large file would have more mappings than the system allows.
    std::byte* const begin = address - reinterpret_cast<std::uintptr_t>(address) % page_bytes;
    const auto size = static_cast<std::size_t>(data + range->size - begin);
    return ::mmap(begin, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == begin;
  }
  return false;
}

void pass_on(int signal, siginfo_t* info, void* context) {
  if ((before.sa_flags & SA_SIGINFO) != 0) return before.sa_sigaction(signal, info, context);
  const bool was_sent = info->si_code <= 0;  // by kill(), and not for an access that is tried again
  if (before.sa_handler == SIG_IGN && was_sent) return;
  if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) return before.sa_handler(signal);
  struct sigaction ending {};
  ending.sa_handler = SIG_DFL;
  ::sigaction(signal, &ending, nullptr);
  if (was_sent) ::raise(signal);
}

void on_bus_error(int signal, siginfo_t* info, void* context) {
  const int error = errno;
  const bool replaced =
      info->si_code == BUS_ADRERR && replace_lost_pages(static_cast<std::byte*>(info->si_addr));
  if (!replaced) pass_on(signal, info, context);
  errno = error;
}

bool take_over_signal() {
  page_bytes = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  ::sigaction(SIGBUS, nullptr, &before);
  struct sigaction action {};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  ::sigemptyset(&action.sa_mask);
  return ::sigaction(SIGBUS, &action, nullptr) == 0;
}

}  // namespace

MappingGuard::MappingGuard(const std::byte* data, std::size_t size) {
  static const bool taken_over = take_over_signal();
  static_cast<void>(taken_over);
  for (GuardedRange* range = all_ranges; range != nullptr && range_ == nullptr; range = range->next)
    if (!range->taken.exchange(true)) range_ = range;
  if (range_ == nullptr) {
    range_ = new GuardedRange;
    range_->next = all_ranges;
    while (!all_ranges.compare_exchange_weak(range_->next, range_)) {
    }
  }
  range_->lost = false;
  range_->size = size;
  range_->data = data;
}

MappingGuard::~MappingGuard() {
  if (range_ == nullptr) return;
  range_->data = nullptr;
  range_->taken = false;
}

MappingGuard::MappingGuard(MappingGuard&& other) noexcept : range_(std::exchange(other.range_, nullptr)) {}

MappingGuard& MappingGuard::operator=(MappingGuard&& other) noexcept {
  std::swap(range_, other.range_);
  return *this;
}

bool MappingGuard::lost() const {
  return range_ != nullptr && range_->lost;
}

}  // namespace wan
