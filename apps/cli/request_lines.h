#pragma once
// The file of `wan generate --requests`: a request a line, each a JSON object whose keys are the names of options.

#include <string>
#include <vector>

#include "generate_options.h"

namespace wan {

struct RequestLine {
  int number;  // in the file, from 1
  std::string text;
};

/// Lines that are neither empty nor begin with '#'. "-" is standard input. Throws BadFile or Io where the file cannot be read,
/// InvalidArgument where it holds no request.
std::vector<RequestLine> read_request_lines(const std::string& file);

/// What a person calls the file.
std::string requests_name(const std::string& file);

/// `defaults` with what the line says: values are strings, numbers, true or false, and are read as on the command line. Throws
/// InvalidArgument (BadFile for malformed JSON) or Unsupported, without the line's number.
GenerateOptions options_of_line(const GenerateOptions& defaults, const std::string& text);

}  // namespace wan
