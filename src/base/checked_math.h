#pragma once
// Integer arithmetic that refuses to overflow: sizes and offsets read from files pass through here before
// use.

#include <concepts>
#include <cstdint>
#include <limits>
#include <span>

#include "base/error.h"

namespace wan {

/// a * b; throws `code` naming `what` on overflow.
template <std::integral T>
T checked_mul(T a, T b, const char* what, ErrorCode code = ErrorCode::kInvalidArgument) {
  T result;
  if (__builtin_mul_overflow(a, b, &result)) fail(code, "[{}] {} * {} overflows", what, a, b);
  return result;
}

/// a + b; throws `code` naming `what` on overflow.
template <std::integral T>
T checked_add(T a, T b, const char* what, ErrorCode code = ErrorCode::kInvalidArgument) {
  T result;
  if (__builtin_add_overflow(a, b, &result)) fail(code, "[{}] {} + {} overflows", what, a, b);
  return result;
}

/// Product of dimensions; every one must be >= 0. Throws `code` on a negative dimension or overflow.
inline std::int64_t checked_product(std::span<const std::int64_t> dims, const char* what,
                                    ErrorCode code = ErrorCode::kInvalidArgument) {
  std::int64_t product = 1;
  for (const std::int64_t dim : dims) {
    if (dim < 0) fail(code, "[{}] dimension {} is negative", what, dim);
    product = checked_mul(product, dim, what, code);
  }
  return product;
}

}  // namespace wan
