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

}  // namespace wan
