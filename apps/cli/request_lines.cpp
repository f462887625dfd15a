#include "request_lines.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <span>

#include "argument_values.h"
#include "arguments.h"
#include "base/error.h"
#include "base/files.h"
#include "base/untrusted_text.h"
#include "json/json_text.h"
#include "json/strict_json.h"

namespace wan {

namespace {

constexpr const char* kSpaces = " \t\r";

std::vector<RequestLine> lines_of(std::istream& stream) {
  std::vector<RequestLine> lines;
  int number = 0;
  for (std::string text; std::getline(stream, text);) {
    ++number;
    const std::size_t begin = text.find_first_not_of(kSpaces);
    if (begin != std::string::npos && text[begin] != '#') lines.push_back({number, text});
  }
  return lines;
}

nlohmann::json parse_line(const std::string& text) {
  constexpr int kMostDepth = 4;  // an array in an object is told as a wrong value
  const std::string where = "line";
  try {
    return parse_strict_json(std::as_bytes(std::span(text)), where, kMostDepth,
                             "a line is one object, such as {\"prompt\": \"a cat\", \"base_seed\": 1}");
  } catch (const Error& error) {
    std::string message = error.what();
    message.erase(0, where.size() + 3);  // "[line] "
    // The reader sees this line alone.
    constexpr std::string_view kFirst = " at line 1, column ";
    if (const std::size_t at = message.find(kFirst); at != std::string::npos)
      message.replace(at, kFirst.size(), " at column ");
    throw Error(error.code(), message);
  }
}

/// As it stands behind the option on a command line.
std::string text_of(const std::string& key, const nlohmann::json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean()) return value.get<bool>() ? "true" : "false";
  if (value.is_number()) return json_text(value);
  fail(ErrorCode::kInvalidArgument, "\"{}\": expected a string, a number, true or false", shown(key));
}

/// The option that the key stands for, with its dashes.
std::string option_of_key(const std::string& key) {
  const bool plain = !key.empty() && std::all_of(key.begin(), key.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '-';
  });
  WAN_CHECK(plain, kInvalidArgument, "{}: a key is the name of an option, such as \"prompt\"",
            quote_name(key));
  WAN_CHECK(key.front() != '-', kInvalidArgument, "\"{}\": a key has no dashes before its name", key);
  std::string option = official_spelling("--" + key);
  for (const char* whole : {"--requests", "--json", "--plan", "--help", "--verbose"})
    WAN_CHECK(option != whole, kInvalidArgument,
              "\"{}\" is no option of one request; give {} on the command line", key, option);
  return option;
}

}  // namespace

std::string requests_name(const std::string& file) {
  return file == "-" ? "standard input" : file;
}

std::vector<RequestLine> read_request_lines(const std::string& file) {
  std::vector<RequestLine> lines;
  if (file == "-") {
    lines = lines_of(std::cin);
  } else {
    const FileKind kind = file_kind(file);
    WAN_CHECK_FIELD(kind != FileKind::kNothing, kBadFile, "requests", "--requests {}: there is no such file",
                    shortened(file));
    WAN_CHECK_FIELD(kind != FileKind::kFolder, kBadFile, "requests",
                    "--requests {}: it is a folder; name a file", shortened(file));
    errno = 0;
    std::ifstream stream(file);
    WAN_CHECK_FIELD(stream.is_open(), kBadFile, "requests", "--requests {}: cannot be read: {}",
                    shortened(file), system_reason(errno));
    lines = lines_of(stream);
    WAN_CHECK_FIELD(!stream.bad(), kIo, "requests", "--requests {}: cannot be read to its end",
                    shortened(file));
  }
  WAN_CHECK_FIELD(
      !lines.empty(), kInvalidArgument, "requests",
      "{} holds no request; write one a line, such as {{\"prompt\": \"a cat\", \"base_seed\": 1}}",
      shortened(requests_name(file)));
  return lines;
}

GenerateOptions options_of_line(const GenerateOptions& defaults, const std::string& text) {
  const nlohmann::json line = parse_line(text);
  WAN_CHECK(line.is_object(), kInvalidArgument,
            "expected an object, such as {{\"prompt\": \"a cat\", \"base_seed\": 1}}");
  std::vector<std::string> words = {"generate"};
  std::vector<std::string> given;
  for (const auto& [key, value] : line.items()) {
    const std::string option = option_of_key(key);
    WAN_CHECK(std::find(given.begin(), given.end(), option) == given.end(), kInvalidArgument,
              "\"{}\" stands twice, once with another spelling", key);
    given.push_back(option);
    words.push_back(option + "=" + text_of(key, value));
  }
  GenerateOptions options = defaults;
  CLI::App app("", "wan");
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  add_generate_options(*app.add_subcommand("generate"), options);
  parse_arguments(app, words);
  return options;
}

}  // namespace wan
