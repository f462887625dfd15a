#pragma once
// Diagnostics for developers and operators. What a user is told goes through events (include/wan/events.h)
// instead.

#include <string_view>

namespace wan {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

/// Messages below `level` are dropped. The default is kWarning. Thread-safe.
void set_log_level(LogLevel level);

/// Writes one line to standard error, escaped as shown_message() does. Thread-safe.
void log(LogLevel level, std::string_view message);

}  // namespace wan
