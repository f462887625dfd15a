#include "models/wan/image_context.h"

namespace wan {

std::size_t ImageContext::bytes() const {
  std::size_t total = embedded.bytes();
  for (const TextContext::BlockEntry& block : blocks) total += block.key.bytes() + block.value.bytes();
  return total;
}

}  // namespace wan
