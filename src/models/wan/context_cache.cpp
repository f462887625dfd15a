#include "models/wan/context_cache.h"

namespace wan {

ContextCache::ContextCache(int experts, int branches)
    : branches_(branches), contexts_(static_cast<std::size_t>(experts * branches)) {}

TextContext& ContextCache::at(int expert, int branch) {
  return contexts_.at(static_cast<std::size_t>(expert * branches_ + branch));
}

}  // namespace wan
