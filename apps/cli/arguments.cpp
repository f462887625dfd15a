#include "arguments.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <numeric>
#include <string_view>

#include "argument_values.h"
#include "base/error.h"
#include "base/untrusted_text.h"
#include "option_hints.h"
#include "option_names.h"

namespace wan {

namespace {

/// Options of the program and of the chosen command that --help lists.
std::vector<std::string> option_names(const CLI::App& app) {
  std::vector<std::string> names;
  const auto add = [&](const CLI::App* scope) {
    for (const CLI::Option* option : scope->get_options())
      if (!option->get_group().empty() && !option->get_lnames().empty())
        names.push_back("--" + option->get_lnames().front());
  };
  add(&app);
  for (const CLI::App* command : app.get_subcommands()) add(command);
  return names;
}

std::vector<std::string> command_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(command->get_name());
  return names;
}

/// "wan generate --help", or "wan --help" before a command is known.
std::string help_command(const CLI::App& app) {
  const auto commands = app.get_subcommands();
  return commands.empty() ? "wan --help" : fmt::format("wan {} --help", commands.front()->get_name());
}

[[noreturn]] void fail_on_unknown(const CLI::App& app) {
  const std::vector<std::string> extras = app.remaining(true);
  const std::string unknown = extras.empty() ? "" : extras.front();
  const std::string written = unknown.substr(0, unknown.find('='));
  const std::string name = official_spelling(written);
  const std::vector<std::string> names = option_names(app);
  const auto commands = app.get_subcommands();
  if (!commands.empty() && std::find(names.begin(), names.end(), name) != names.end()) {
    const std::string command = commands.front()->get_name();
    if (app.get_option_no_throw(name) != nullptr)
      fail(ErrorCode::kInvalidArgument, "{0} goes before the command: wan {0} {1} ...", name, command);
    fail(ErrorCode::kInvalidArgument, "{0} goes behind the command: wan {1} {0} ...", name, command);
  }
  if (name.starts_with("-"))
    fail(ErrorCode::kInvalidArgument, "unknown option {}{}; {} lists what there is", shortened(written),
         option_hint(names, name), help_command(app));
  fail(ErrorCode::kInvalidArgument,
       "unexpected argument \"{}\"; text with spaces needs quotes round it, {} lists the options",
       shortened(unknown), help_command(app));
}

[[noreturn]] void fail_without_command(const CLI::App& app) {
  const std::vector<std::string> names = command_names(app);
  const std::vector<std::string> extras = app.remaining(true);
  if (extras.empty())
    fail(ErrorCode::kInvalidArgument, "expected a command: {}; wan --help tells more",
         fmt::join(names, ", "));
  const std::string unknown = shortened(extras.front());
  if (unknown.starts_with("-"))
    fail(ErrorCode::kInvalidArgument, "unknown option {} before a command ({}); wan --help tells more",
         unknown, fmt::join(names, ", "));
  fail(ErrorCode::kInvalidArgument, "unknown command {}{}; there are {}", unknown,
       similar_name_hint(names, extras.front()), fmt::join(names, ", "));
}

/// "--prompt: 1 required TEXT missing" is how CLI11 begins: with the option's name.
std::string option_of(const std::string& message) {
  return message.substr(0, message.find_first_of(": "));
}

std::string lower_case(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

/// Of "gb", "g", "gib", "b", ..., in lower case; of none GB; 0 for what is no unit.
double bytes_of_unit(const std::string& unit) {
  if (unit.empty()) return 1e9;
  if (unit == "b") return 1;
  constexpr std::string_view kPrefixes = "kmgtp";
  const std::size_t power = kPrefixes.find(unit.front());
  const std::string rest = unit.substr(1);
  if (power == std::string_view::npos || (!rest.empty() && rest != "b" && rest != "ib")) return 0;
  return std::pow(rest == "ib" ? 1024.0 : 1000.0, static_cast<double>(power) + 1);
}

}  // namespace

void parse_arguments(CLI::App& app, const std::vector<std::string>& words) {
  std::vector<std::string> arguments = separated_values(app, words);
  std::reverse(arguments.begin(), arguments.end());  // CLI11 takes them from the back
  try {
    app.parse(std::move(arguments));
  } catch (const CLI::CallForHelp&) {
    throw;
  } catch (const CLI::CallForAllHelp&) {
    throw;
  } catch (const CLI::CallForVersion&) {
    throw;
  } catch (const CLI::ExtrasError&) {
    fail_on_unknown(app);
  } catch (const CLI::RequiredError& error) {
    if (app.get_subcommands().empty()) fail_without_command(app);
    const std::string option = option_of(error.what());
    fail_field(ErrorCode::kInvalidArgument, field_of(option), "{} is missing; {} tells more", option,
               help_command(app));
  } catch (const CLI::ArgumentMismatch& error) {
    const std::string option = option_of(error.what());
    fail_field(ErrorCode::kInvalidArgument, field_of(option), "{} needs a value; {} tells more", option,
               help_command(app));
  } catch (const CLI::ParseError& error) {
    fail(ErrorCode::kInvalidArgument, "{}; {} tells more", shortened(error.what()), help_command(app));
  }
}

bool parse_bool(const std::string& option, const std::string& text) {
  const std::string lower = lower_case(text);
  for (const char* yes : {"yes", "true", "t", "y", "1"})
    if (lower == yes) return true;
  for (const char* no : {"no", "false", "f", "n", "0"})
    if (lower == no) return false;
  fail_field(ErrorCode::kInvalidArgument, field_of(option), "{} {}: expected True or False", option,
             shortened(text));
}

template <typename T>
T parse_number(const std::string& option, const std::string& text) {
  T value{};
  const char* const end = text.data() + text.size();
  const bool plus = text.starts_with('+') && !text.starts_with("+-");  // as Python reads numbers
  const auto [stop, error] = std::from_chars(text.data() + (plus ? 1 : 0), end, value);
  const char* const kind = std::is_integral_v<T> ? "a whole number" : "a number";
  WAN_CHECK_FIELD(error != std::errc::result_out_of_range, kInvalidArgument, field_of(option),
                  "{} {}: the number is too large", option, shortened(text));
  WAN_CHECK_FIELD(error == std::errc() && stop == end, kInvalidArgument, field_of(option),
                  "{} {}: expected {}", option, shortened(text), kind);
  return value;
}

template int parse_number<int>(const std::string&, const std::string&);
template std::int64_t parse_number<std::int64_t>(const std::string&, const std::string&);
template double parse_number<double>(const std::string&, const std::string&);

std::int64_t parse_bytes(const std::string& option, const std::string& text) {
  constexpr double kMostBareGb = 10'000;
  double number = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  std::string unit = lower_case(std::string(stop, end));
  unit.erase(0, unit.find_first_not_of(' '));
  WAN_CHECK_FIELD(
      !unit.empty() || error != std::errc() || !(number > kMostBareGb), kInvalidArgument, field_of(option),
      "{0} {1}: a number without a unit means GB; write {0} {1}B for bytes, or a size such as 16GB", option,
      shortened(text));
  const double scale = bytes_of_unit(unit);
  WAN_CHECK_FIELD(
      error == std::errc() && scale > 0 && number > 0 && number * scale >= 1 && number * scale < 9e18,
      kInvalidArgument, field_of(option),
      "{} {}: expected a size such as 16GB, 800MB or 15.5GiB; a number without a unit means GB", option,
      shortened(text));
  return static_cast<std::int64_t>(number * scale);
}

std::vector<int> parse_gpus(const std::string& option, const std::string& text) {
  constexpr int kMost = 64;
  std::vector<int> numbers;
  const char* at = text.data();
  const char* const end = at + text.size();
  const auto check = [&](bool holds) {
    WAN_CHECK_FIELD(holds, kInvalidArgument, field_of(option),
                    "{} {}: expected how many, 1 to {}, or which, such as 0,2,3", option, shortened(text),
                    kMost);
  };
  const bool is_list = text.find(',') != std::string::npos;
  while (true) {
    int number = -1;
    const auto [stop, error] = std::from_chars(at, end, number);
    check(error == std::errc() && number >= 0 && number <= kMost);
    numbers.push_back(number);
    if (stop == end) break;
    check(*stop == ',');
    at = stop + 1;
    if (at == end) break;  // "2," is GPU 2 alone
  }
  if (is_list) return numbers;
  check(numbers.front() >= 1);
  std::vector<int> first(static_cast<std::size_t>(numbers.front()));
  std::iota(first.begin(), first.end(), 0);
  return first;
}

}  // namespace wan
