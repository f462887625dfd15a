#pragma once
// Which words of a command line are options and which are their values: argparse's rule, the official program's.

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace wan {

/// The words with the official spelling (underscores) in the name of every option that `app` and its commands know, and
/// --name=value in two words, so that CLI11 takes the value as it is. An option's value is the word behind it unless that
/// looks like an option: it begins with a dash and is neither a negative number nor has a space in it, or it is
/// (the beginning of) an option's name. Throws InvalidArgument for an option whose value is missing by this rule.
std::vector<std::string> separated_values(const CLI::App& app, const std::vector<std::string>& words);

/// `word` with underscores for dashes in its name: all behind "--" and before a "=".
std::string official_spelling(std::string word);

}  // namespace wan
