#include "arguments.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdlib>
#include <numeric>

#include "base/error.h"

namespace wan {

namespace {

std::size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row.back();
}

/// " (did you mean --frame_num?)" or "".
std::string suggestion(const std::vector<std::string>& names, const std::string& unknown) {
  std::string best;
  std::size_t distance = 4;  // further away is no typo
  for (const std::string& name : names) {
    const std::size_t found = edit_distance(name, unknown);
    if (found < distance) {
      distance = found;
      best = name;
    }
  }
  return best.empty() ? "" : fmt::format(" (did you mean {}?)", best);
}

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
  const std::string name = unknown.substr(0, unknown.find('='));
  const std::vector<std::string> names = option_names(app);
  const auto commands = app.get_subcommands();
  if (!commands.empty() && std::find(names.begin(), names.end(), name) != names.end()) {
    const std::string command = commands.front()->get_name();
    if (app.get_option_no_throw(name) != nullptr)
      fail(ErrorCode::kInvalidArgument, "{0} goes before the command: wan {0} {1} ...", name, command);
    fail(ErrorCode::kInvalidArgument, "{0} goes behind the command: wan {1} {0} ...", name, command);
  }
  if (name.starts_with("-"))
    fail(ErrorCode::kInvalidArgument, "unknown option {}{}; {} lists what there is", name,
         suggestion(names, name), help_command(app));
  fail(ErrorCode::kInvalidArgument,
       "unexpected argument \"{}\"; text with spaces needs quotes round it, {} lists the options", unknown,
       help_command(app));
}

[[noreturn]] void fail_without_command(const CLI::App& app) {
  const std::vector<std::string> names = command_names(app);
  const std::vector<std::string> extras = app.remaining(true);
  if (extras.empty())
    fail(ErrorCode::kInvalidArgument, "expected a command: {}; wan --help tells more",
         fmt::join(names, ", "));
  if (extras.front().starts_with("-"))
    fail(ErrorCode::kInvalidArgument, "unknown option {} before a command ({}); wan --help tells more",
         extras.front(), fmt::join(names, ", "));
  fail(ErrorCode::kInvalidArgument, "unknown command {}{}; there are {}", extras.front(),
       suggestion(names, extras.front()), fmt::join(names, ", "));
}

/// "--prompt: 1 required TEXT missing" is how CLI11 begins: with the option's name.
std::string option_of(const std::string& message) {
  return message.substr(0, message.find_first_of(": "));
}

}  // namespace

std::vector<std::string> normalized_arguments(int argc, char** argv) {
  std::vector<std::string> arguments(argv + std::min(argc, 1), argv + argc);
  for (std::string& argument : arguments) {
    if (!argument.starts_with("--")) continue;
    const std::size_t end = std::min(argument.find('='), argument.size());
    std::replace(argument.begin() + 2, argument.begin() + static_cast<std::ptrdiff_t>(end), '-', '_');
  }
  return arguments;
}

void parse_arguments(CLI::App& app, std::vector<std::string> arguments) {
  try {
    std::reverse(arguments.begin(), arguments.end());  // CLI11 takes them from the back
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
    fail(ErrorCode::kInvalidArgument, "{} is missing; {} tells more", option_of(error.what()),
         help_command(app));
  } catch (const CLI::ArgumentMismatch& error) {
    fail(ErrorCode::kInvalidArgument, "{} needs a value; {} tells more", option_of(error.what()),
         help_command(app));
  } catch (const CLI::ParseError& error) {
    fail(ErrorCode::kInvalidArgument, "{}; {} tells more", error.what(), help_command(app));
  }
}

bool parse_bool(const std::string& option, const std::string& text) {
  std::string lower = text;
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
  for (const char* yes : {"yes", "true", "t", "y", "1"})
    if (lower == yes) return true;
  for (const char* no : {"no", "false", "f", "n", "0"})
    if (lower == no) return false;
  fail(ErrorCode::kInvalidArgument, "{} {}: expected True or False", option, text);
}

template <typename T>
T parse_number(const std::string& option, const std::string& text) {
  T value{};
  const char* const end = text.data() + text.size();
  const bool plus = text.starts_with('+') && !text.starts_with("+-");  // as Python reads numbers
  const auto [stop, error] = std::from_chars(text.data() + (plus ? 1 : 0), end, value);
  const char* const kind = std::is_integral_v<T> ? "a whole number" : "a number";
  WAN_CHECK(error != std::errc::result_out_of_range, kInvalidArgument, "{} {}: the number is too large",
            option, text);
  WAN_CHECK(error == std::errc() && stop == end, kInvalidArgument, "{} {}: expected {}", option, text, kind);
  return value;
}

template int parse_number<int>(const std::string&, const std::string&);
template std::int64_t parse_number<std::int64_t>(const std::string&, const std::string&);
template double parse_number<double>(const std::string&, const std::string&);

std::int64_t parse_bytes(const std::string& option, const std::string& text) {
  char* end = nullptr;
  const double number = std::strtod(text.c_str(), &end);
  const std::string unit(end);
  double scale = 0;
  if (unit.empty() || unit == "B") scale = 1;
  if (unit == "M" || unit == "MB") scale = 1e6;
  if (unit == "G" || unit == "GB") scale = 1e9;
  WAN_CHECK(end != text.c_str() && scale > 0 && number > 0 && number * scale < 9e18, kInvalidArgument,
            "{} {}: expected a size such as 16GB or 800MB", option, text);
  return static_cast<std::int64_t>(number * scale);
}

}  // namespace wan
