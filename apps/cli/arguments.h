#pragma once
// Command-line arguments before CLI11 sees them: one spelling for --frame-num and --frame_num, and a hint for typos.

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

namespace wan {

/// Arguments without the program's name, the official spelling (underscores) in every option's name; values stay.
std::vector<std::string> normalized_arguments(int argc, char** argv);

/// Parses; throws Error{InvalidArgument} with one line that says what would be right, and CLI::CallForHelp or
/// CLI::CallForVersion for --help and --version.
void parse_arguments(CLI::App& app, std::vector<std::string> arguments);

/// Python's str2bool as generate.py has it: yes/true/t/y/1, no/false/f/n/0 in any case. Throws InvalidArgument.
bool parse_bool(const std::string& option, const std::string& text);

/// The whole of `text` as an int, std::int64_t or double. Throws InvalidArgument, naming the option.
template <typename T>
T parse_number(const std::string& option, const std::string& text);

/// Bytes, of a text such as "16GB", "800MB" or a number of bytes. Throws InvalidArgument, naming the option.
std::int64_t parse_bytes(const std::string& option, const std::string& text);

}  // namespace wan
