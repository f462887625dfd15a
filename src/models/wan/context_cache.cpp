#include "models/wan/context_cache.h"

namespace wan {

std::size_t TextContext::bytes() const {
  std::size_t total = embedded.bytes() + key_bias.bytes();
  for (const BlockEntry& block : blocks) total += block.key.bytes() + block.value.bytes();
  return total;
}

ContextCache::ContextCache(int experts, int branches)
    : branches_(branches), contexts_(static_cast<std::size_t>(experts * branches)) {}

TextContext& ContextCache::at(int expert, int branch) {
  return contexts_.at(static_cast<std::size_t>(expert * branches_ + branch));
}

std::size_t ContextCache::bytes() const {
  std::size_t total = 0;
  for (const TextContext& context : contexts_) total += context.bytes();
  return total;
}

}  // namespace wan
