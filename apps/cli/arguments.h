#pragma once
// From the words of a command line to CLI11's options: values by argparse's rule, errors with a hint, numbers and sizes.

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

namespace wan {

/// Parses the words behind the program's name (argument_values.h says which are values); throws Error{InvalidArgument} with one line that says what would be right, and CLI::CallForHelp or
/// CLI::CallForVersion for --help and --version.
void parse_arguments(CLI::App& app, const std::vector<std::string>& words);

/// Python's str2bool as generate.py has it: yes/true/t/y/1, no/false/f/n/0 in any case. Throws InvalidArgument.
bool parse_bool(const std::string& option, const std::string& text);

/// The whole of `text` as an int, std::int64_t or double. Throws InvalidArgument, naming the option.
template <typename T>
T parse_number(const std::string& option, const std::string& text);

/// Bytes, of a text such as "16GB", "800mb", "15.5GiB", "1T" or "16", which means GB. Throws InvalidArgument, naming the
/// option.
std::int64_t parse_bytes(const std::string& option, const std::string& text);

/// GPUs: "2" are the first two, "0,2,3" these, "2," that one. Throws InvalidArgument, naming the option.
std::vector<int> parse_gpus(const std::string& option, const std::string& text);

}  // namespace wan
