#include "models/qwen/key_value_cache.h"

namespace wan {

namespace {

Shape cache_shape(const QwenConfig& config, std::int64_t capacity) {
  return {config.num_layers, capacity, config.num_key_heads, config.head_dim};
}

}  // namespace

KeyValueCache::KeyValueCache(Allocator& allocator, const QwenConfig& config, std::int64_t capacity,
                             DType dtype)
    : keys_(allocator, dtype, cache_shape(config, capacity)),
      values_(allocator, dtype, cache_shape(config, capacity)) {}

std::int64_t key_value_bytes(const QwenConfig& config, std::int64_t capacity, DType dtype) {
  return 2 * cache_shape(config, capacity).elements() * static_cast<std::int64_t>(dtype_size(dtype));
}

}  // namespace wan
