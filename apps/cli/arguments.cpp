#include "arguments.h"

#include <algorithm>
#include <cctype>
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
std::string suggestion(const CLI::App& app, const std::string& unknown) {
  std::string best;
  std::size_t distance = 4;  // further away is no typo
  for (const CLI::App* scope : app.get_subcommands()) {
    for (const CLI::Option* option : scope->get_options()) {
      const std::string name = "--" + option->get_lnames().front();
      const std::size_t found = edit_distance(name, unknown);
      if (found < distance) {
        distance = found;
        best = name;
      }
    }
  }
  return best.empty() ? "" : fmt::format(" (did you mean {}?)", best);
}

}  // namespace

std::vector<std::string> normalized_arguments(int argc, char** argv) {
  std::vector<std::string> arguments(argv + 1, argv + argc);
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
  } catch (const CLI::ExtrasError&) {
    const std::vector<std::string> extras = app.remaining(true);
    const std::string unknown = extras.empty() ? "" : extras.front();
    fail(ErrorCode::kInvalidArgument, "unknown {} {}{}; --help lists what there is",
         unknown.starts_with("-") ? "option" : "argument", unknown, suggestion(app, unknown));
  } catch (const CLI::RequiredError& error) {
    fail(ErrorCode::kInvalidArgument, "{}", error.what());
  } catch (const CLI::ParseError& error) {
    fail(ErrorCode::kInvalidArgument, "{}", error.what());
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

}  // namespace wan
