#include "argument_values.h"

#include <algorithm>
#include <cctype>
#include <optional>

#include "base/error.h"
#include "base/untrusted_text.h"
#include "option_names.h"

namespace wan {

namespace {

/// Python's -\d+ or -\d*\.\d+, all of the word.
bool is_negative_number(const std::string& word) {
  const auto digits_from = [&](std::size_t begin) {
    std::size_t end = begin;
    while (end < word.size() && std::isdigit(static_cast<unsigned char>(word[end])) != 0) ++end;
    return end;
  };
  const std::size_t whole = digits_from(1);
  if (whole == word.size()) return whole > 1;
  return word[whole] == '.' && whole + 1 < word.size() && digits_from(whole + 1) == word.size();
}

std::string name_of(const std::string& word) {
  return word.substr(0, word.find('='));
}

/// The option of `app` with this name, one that --help does not list included.
const CLI::Option* find_option(const CLI::App& app, const std::string& name) {
  return name.starts_with("-") && name.size() > 1 ? app.get_option_no_throw(name) : nullptr;
}

/// argparse takes the beginning of a name for the option, of a short one with anything behind it.
bool begins_an_option(const CLI::App& app, const std::string& word) {
  if (!word.starts_with("--")) return find_option(app, word.substr(0, 2)) != nullptr;
  const std::string name = name_of(official_spelling(word)).substr(2);
  const std::vector<const CLI::Option*> options = app.get_options();
  return std::any_of(options.begin(), options.end(), [&](const CLI::Option* option) {
    const std::vector<std::string>& names = option->get_lnames();
    return std::any_of(names.begin(), names.end(),
                       [&](const std::string& known) { return known.starts_with(name); });
  });
}

/// argparse's _parse_optional.
bool looks_like_an_option(const CLI::App& app, const std::string& word) {
  if (word.size() < 2 || word.front() != '-') return false;
  if (word == "--" || begins_an_option(app, word)) return true;
  return !is_negative_number(word) && word.find(' ') == std::string::npos;
}

[[noreturn]] void fail_without_value(const CLI::App& app, const std::string& option,
                                     const std::optional<std::string>& next) {
  if (next && *next != "--" && find_option(app, name_of(official_spelling(*next))) == nullptr)
    fail_field(ErrorCode::kInvalidArgument, field_of(option),
               "{0} {1}: a value that begins with a dash is written {0}={1}", option, shortened(*next));
  fail_field(ErrorCode::kInvalidArgument, field_of(option), "{} needs a value; wan {} --help tells more",
             option, app.get_name());
}

/// The command that `word` names, or nullptr.
const CLI::App* command_named(const CLI::App& app, const std::string& word) {
  const auto commands = app.get_subcommands([](const CLI::App*) { return true; });
  const auto found = std::find_if(commands.begin(), commands.end(),
                                  [&](const CLI::App* c) { return c->get_name() == word; });
  return found == commands.end() ? nullptr : *found;
}

}  // namespace

std::string official_spelling(std::string word) {
  if (!word.starts_with("--")) return word;
  const std::size_t end = std::min(word.find('='), word.size());
  std::replace(word.begin() + 2, word.begin() + static_cast<std::ptrdiff_t>(end), '-', '_');
  return word;
}

std::vector<std::string> separated_values(const CLI::App& app, const std::vector<std::string>& words) {
  std::vector<std::string> result;
  const CLI::App* scope = &app;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i] == "--") {  // what follows are no options
      result.insert(result.end(), words.begin() + static_cast<std::ptrdiff_t>(i), words.end());
      break;
    }
    const std::string word = official_spelling(words[i]);
    const std::string name = name_of(word);
    const CLI::Option* const option = find_option(*scope, name);
    if (option == nullptr) {
      const CLI::App* const command = scope == &app ? command_named(app, word) : nullptr;
      if (command != nullptr) scope = command;
      result.push_back(words[i]);
      continue;
    }
    if (option->get_items_expected_max() == 0) {  // a flag
      result.push_back(word);
      continue;
    }
    result.push_back(name);
    if (word != name) {
      result.push_back(word.substr(name.size() + 1));
      continue;
    }
    const bool last = i + 1 == words.size();
    if (last || looks_like_an_option(*scope, words[i + 1]))
      fail_without_value(*scope, name, last ? std::nullopt : std::optional(words[i + 1]));
    result.push_back(words[++i]);
  }
  return result;
}

}  // namespace wan
