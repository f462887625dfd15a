#pragma once
// Errors of values that stand in files: the checks are those of the members, the messages must not be.

#include <algorithm>
#include <string>
#include <string_view>

#include "base/error.h"

namespace wan {

/// "33*32: expected ..." of "`size` 33*32: expected ...".
inline const char* without_field(const Error& error) {
  const std::string_view message = error.what();
  return message.starts_with('`') ? error.what() + std::min(message.find(' ') + 1, message.size())
                                  : error.what();
}

/// check(); an error that it throws is passed on as BadFile about `key` in `file`.
template <typename Check>
decltype(auto) attributed(const std::string& file, const char* key, Check&& check) {
  try {
    return check();
  } catch (const Error& error) {
    fail(ErrorCode::kBadFile, "{}: \"{}\": {}", file, key, without_field(error));
  }
}

}  // namespace wan
