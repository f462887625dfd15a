#include "tensor/address_allocator.h"

namespace wan {

std::byte* AddressAllocator::allocate(std::size_t bytes) {
  if (bytes == 0) return nullptr;
  constexpr std::size_t kAlignment = 256;  // of a GPU's allocations
  count_.add(bytes);
  return reinterpret_cast<std::byte*>(next_.fetch_add((bytes + kAlignment - 1) / kAlignment * kAlignment));
}

}  // namespace wan
