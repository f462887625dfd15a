#include "base/log.h"

#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "base/untrusted_text.h"

namespace wan {

namespace {

std::atomic<LogLevel>& least_level() {
  static std::atomic<LogLevel> level = LogLevel::kWarning;
  return level;
}

FieldSpelling& log_spelling() {
  static FieldSpelling spelling;
  return spelling;
}

bool has_colours() {
  static const bool has = [] {
    const char* const terminal = std::getenv("TERM");
    return ::isatty(STDERR_FILENO) == 1 && terminal != nullptr && *terminal != '\0' &&
           std::string_view(terminal) != "dumb";
  }();
  return has;
}

struct LevelLook {
  const char* name;
  const char* colour;
};

LevelLook look(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return {"debug", "\033[36m"};
    case LogLevel::kInfo:
      return {"info", "\033[32m"};
    case LogLevel::kWarning:
      return {"warning", "\033[33;1m"};
    case LogLevel::kError:
      break;
  }
  return {"error", "\033[31;1m"};
}

}  // namespace

void set_log_level(LogLevel level) {
  least_level() = level;
}

void set_log_spelling(FieldSpelling spelling) {
  log_spelling() = std::move(spelling);
}

void log(LogLevel level, std::string_view message) {
  if (level < least_level()) return;
  const FieldSpelling& spelling = log_spelling();
  const auto [name, colour] = look(level);
  const std::string line =
      fmt::format("{}{}{}: {}\n", has_colours() ? colour : "", name, has_colours() ? "\033[0m" : "",
                  shown_message(spelling ? spell_fields(message, spelling) : message));
  std::fwrite(line.data(), 1, line.size(), stderr);  // whole, so that lines of several threads do not mix
}

}  // namespace wan
