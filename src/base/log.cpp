#include "base/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include "base/untrusted_text.h"

namespace wan {

namespace {

spdlog::level::level_enum to_spdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      break;
  }
  return spdlog::level::err;
}

spdlog::logger& logger() {
  static const std::shared_ptr<spdlog::logger> instance = [] {
    auto created =
        std::make_shared<spdlog::logger>("wan", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
    created->set_pattern("%^%l%$: %v");
    created->set_level(spdlog::level::warn);
    return created;
  }();
  return *instance;
}

FieldSpelling& log_spelling() {
  static FieldSpelling spelling;
  return spelling;
}

}  // namespace

void set_log_level(LogLevel level) {
  logger().set_level(to_spdlog(level));
}

void set_log_spelling(FieldSpelling spelling) {
  log_spelling() = std::move(spelling);
}

void log(LogLevel level, std::string_view message) {
  const FieldSpelling& spelling = log_spelling();
  logger().log(to_spdlog(level), shown_message(spelling ? spell_fields(message, spelling) : message));
}

}  // namespace wan
