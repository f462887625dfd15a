#pragma once
// Throwing and checking with formatted messages: fail(), WAN_CHECK for callers' mistakes, WAN_ASSERT for our
// own.

#include <fmt/format.h>

#include <utility>

#include "wan/error.h"

namespace wan {

/// Throws Error{code} with a formatted message.
template <typename... Args>
[[noreturn]] void fail(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(code, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace wan

/// WAN_CHECK(condition, code, "[where] expected ..., got {}", value): throws Error{ErrorCode::code} unless
/// condition.
#define WAN_CHECK(condition, code, ...)                                 \
  do {                                                                  \
    if (!(condition)) ::wan::fail(::wan::ErrorCode::code, __VA_ARGS__); \
  } while (false)

/// An invariant of the library; always compiled in, never on a per-element path.
#define WAN_ASSERT(condition)                                                                        \
  do {                                                                                               \
    if (!(condition))                                                                                \
      ::wan::fail(::wan::ErrorCode::kInternal, "[{}:{}] internal error: {} does not hold", __FILE__, \
                  __LINE__, #condition);                                                             \
  } while (false)
