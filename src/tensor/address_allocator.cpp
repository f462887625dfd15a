#include "tensor/address_allocator.h"

namespace wan {

std::byte* AddressAllocator::allocate(std::size_t bytes) {
  if (bytes == 0) return nullptr;
  constexpr std::size_t kAlignment = 256;  // of a GPU's allocations
  count_.add(bytes);
  const std::uintptr_t address = next_.fetch_add((bytes + kAlignment - 1) / kAlignment * kAlignment);
  return reinterpret_cast<std::byte*>(address);  // NOLINT(performance-no-int-to-ptr): nothing lies there
}

}  // namespace wan
