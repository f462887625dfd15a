#pragma once
// Throwing and checking with formatted messages: fail(), WAN_CHECK for callers' mistakes, WAN_ASSERT for our own. Messages
// name members of the public structs in backquotes, as wan/error.h says, and never an option or a key.

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <type_traits>

#include "wan/error.h"

namespace wan {

/// Text from outside as a part of a message: no backquote in it can name a member. spell_fields() undoes it.
std::string literal_text(std::string_view text);

/// A part of a message that was put together apart from it: its backquotes name members.
struct MessagePart {
  std::string text;
};

/// What stands for an argument in a message. Strings are text from outside; a `const char*` is the program's own, or an
/// Error's what().
template <typename T>
decltype(auto) message_argument(const T& value) {
  if constexpr (std::is_same_v<T, MessagePart>) {
    return std::string_view(value.text);
  } else if constexpr (std::is_convertible_v<const T&, std::string_view> &&
                       !std::is_convertible_v<const T&, const char*>) {
    return literal_text(value);
  } else {
    return (value);
  }
}
/// fmt::join() of whatever it is: its texts are from outside as well.
template <typename Iterator, typename Sentinel>
std::string message_argument(const fmt::join_view<Iterator, Sentinel>& values) {
  return literal_text(fmt::to_string(values));
}

template <typename... Args>
using MessageFormat = fmt::format_string<decltype(message_argument(std::declval<const Args&>()))...>;

/// The text of an Error or a Notice: fmt::format(), but only `format` itself and message parts name members.
template <typename... Args>
std::string format_message(std::type_identity_t<MessageFormat<Args...>> format, const Args&... args) {
  return fmt::format(format, message_argument(args)...);
}

/// Throws Error{code} with a formatted message, its field the member that the message begins with.
template <typename... Args>
[[noreturn]] void fail(ErrorCode code, std::type_identity_t<MessageFormat<Args...>> format,
                       const Args&... args) {
  throw Error(code, format_message<Args...>(format, args...));
}

/// With a field that the message does not begin with.
template <typename... Args>
[[noreturn]] void fail_field(ErrorCode code, const char* field,
                             std::type_identity_t<MessageFormat<Args...>> format, const Args&... args) {
  throw Error(code, format_message<Args...>(format, args...), field);
}

/// check(); an error that it throws is about `field`, unless it says a field of its own.
template <typename Check>
decltype(auto) with_field(const char* field, Check&& check) {
  try {
    return check();
  } catch (const Error& error) {
    if (!error.field().empty()) throw;
    throw Error(error.code(), error.what(), field);
  }
}

}  // namespace wan

/// WAN_CHECK(condition, code, "[where] expected ..., got {}", value): throws Error{ErrorCode::code} unless
/// condition.
#define WAN_CHECK(condition, code, ...)                                 \
  do {                                                                  \
    if (!(condition)) ::wan::fail(::wan::ErrorCode::code, __VA_ARGS__); \
  } while (false)

/// WAN_CHECK with a field that the message does not begin with.
#define WAN_CHECK_FIELD(condition, code, field, ...)                                 \
  do {                                                                               \
    if (!(condition)) ::wan::fail_field(::wan::ErrorCode::code, field, __VA_ARGS__); \
  } while (false)

/// An invariant of the library; always compiled in, never on a per-element path.
#define WAN_ASSERT(condition)                                                                        \
  do {                                                                                               \
    if (!(condition))                                                                                \
      ::wan::fail(::wan::ErrorCode::kInternal, "[{}:{}] internal error: {} does not hold", __FILE__, \
                  __LINE__, #condition);                                                             \
  } while (false)
