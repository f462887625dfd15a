#include "base/error.h"

namespace wan {

namespace {

struct CodeFacts {
  const char* name;
  int exit_status;
  int http_status;
};

CodeFacts facts(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::kInvalidArgument:
      return {"invalid_argument", 64, 400};
    case ErrorCode::kBadFile:
      return {"bad_file", 65, 400};
    case ErrorCode::kUnsupported:
      return {"unsupported", 69, 501};
    case ErrorCode::kOutOfMemory:
      return {"out_of_memory", 71, 507};
    case ErrorCode::kDevice:
      return {"device", 72, 500};
    case ErrorCode::kCancelled:
      return {"cancelled", 130, 499};
    case ErrorCode::kIo:
      return {"io", 74, 500};
    case ErrorCode::kInternal:
      break;
  }
  return {"internal", 70, 500};
}

constexpr std::string_view kLiteralBackquote = "\\`";

/// "size" of "`size` 33*32: ..."; empty where the message begins with no member.
std::string_view field_at_front(std::string_view message) {
  if (!message.starts_with('`')) return {};
  message.remove_prefix(1);
  const std::size_t end = message.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_");
  return end != std::string_view::npos && message[end] == '`' ? message.substr(0, end) : std::string_view();
}

}  // namespace

const char* error_code_name(ErrorCode code) noexcept {
  return facts(code).name;
}
int exit_status(ErrorCode code) noexcept {
  return facts(code).exit_status;
}
int http_status(ErrorCode code) noexcept {
  return facts(code).http_status;
}

Error::Error(ErrorCode code, const std::string& message)
    : Error(code, message, std::string(field_at_front(message))) {}

std::string spell_fields(std::string_view message, const FieldSpelling& spelling) {
  std::string result;
  while (!message.empty()) {
    if (message.starts_with(kLiteralBackquote)) {
      result += '`';
      message.remove_prefix(kLiteralBackquote.size());
    } else if (const std::string_view field = field_at_front(message); !field.empty()) {
      result += spelling(field);
      message.remove_prefix(field.size() + 2);
    } else {
      result += message.front();
      message.remove_prefix(1);
    }
  }
  return result;
}

std::string literal_text(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == '`')
      result += kLiteralBackquote;
    else
      result += c;
  }
  return result;
}

}  // namespace wan
