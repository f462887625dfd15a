#pragma once
// Errors of values that stand in files: the checks are those of the options, the messages must not be.

#include <algorithm>
#include <string>
#include <string_view>

#include "base/error.h"

namespace wan {

/// "--size 33*32: expected ..." without the option's name.
inline std::string without_option(std::string_view message) {
  if (message.starts_with("--")) message.remove_prefix(std::min(message.find(' ') + 1, message.size()));
  return std::string(message);
}

/// check(); an error that it throws is passed on as BadFile about `key` in `file`.
template <typename Check>
decltype(auto) attributed(const std::string& file, const char* key, Check&& check) {
  try {
    return check();
  } catch (const Error& error) {
    fail(ErrorCode::kBadFile, "{}: \"{}\": {}", file, key, without_option(error.what()));
  }
}

}  // namespace wan
