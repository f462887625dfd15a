#pragma once
// Diagnostics for developers and operators. What a user is told goes through events (include/wan/events.h)
// instead.

#include <string_view>

#include "wan/error.h"

namespace wan {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

/// Messages below `level` are dropped. The default is kWarning. Thread-safe.
void set_log_level(LogLevel level);

/// What members are called in the lines; by default as in Error::what(). Before other threads log.
void set_log_spelling(FieldSpelling spelling);

/// Writes one line to standard error, a message as wan/error.h has them, escaped as shown_message() does. Thread-safe.
void log(LogLevel level, std::string_view message);

}  // namespace wan
