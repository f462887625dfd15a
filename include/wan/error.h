#pragma once
// The one exception type of the library, and what each of its codes means to a program.

#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace wan {

enum class ErrorCode {
  kInvalidArgument,  // the request is wrong: an option, a size, a combination
  kBadFile,          // a file is missing, truncated, malformed or of the wrong kind
  kUnsupported,      // understood, but not in this build or not for this model
  kOutOfMemory,      // host or device memory does not suffice
  kDevice,           // a device or its driver failed
  kCancelled,        // the caller asked to stop
  kIo,               // reading or writing failed (disk full, permission)
  kInternal,         // a bug: an invariant of the library does not hold
};

/// Stable lower-case name of a code, for logs and JSON ("invalid_argument", ...).
const char* error_code_name(ErrorCode code) noexcept;

/// Exit status of a command-line program for a code (sysexits.h where one fits): InvalidArgument 64, BadFile
/// 65, Unsupported 69, Internal 70, OutOfMemory 71, Device 72, Io 74, Cancelled 130.
int exit_status(ErrorCode code) noexcept;

/// HTTP status for a code: InvalidArgument and BadFile 400, Unsupported 501, OutOfMemory 507, Cancelled 499,
/// others 500.
int http_status(ErrorCode code) noexcept;

/// What every function of the library throws. what() is a whole sentence for a person that says what to change. It names
/// members of the library's structs in backquotes: "`size` 33*32: expected width*height in pixels, such as 832*480". A
/// backquote of any other text, such as a file's name, has a backslash before it.
class Error : public std::runtime_error {
 public:
  /// The field is the member that the message begins with, where it begins with one.
  Error(ErrorCode code, const std::string& message);
  Error(ErrorCode code, const std::string& message, std::string field)
      : std::runtime_error(message), code_(code), field_(std::move(field)) {}
  ErrorCode code() const noexcept { return code_; }
  /// The member that is wrong, of GenerationRequest, EngineOptions or what else the call was given: "size",
  /// "sample_steps". Empty where none is.
  const std::string& field() const noexcept { return field_; }

 private:
  ErrorCode code_;
  std::string field_;
};

/// What a member is called elsewhere: on a command line an option, in a server's JSON a key.
using FieldSpelling = std::function<std::string(std::string_view field)>;

/// For whoever calls the members something else: the text of an Error or a Notice with spelling("size") for "`size`", and
/// without the backslashes before other backquotes.
std::string spell_fields(std::string_view message, const FieldSpelling& spelling);

}  // namespace wan
