// The wan program: subcommands, and the one place that turns an Error into a message and an exit status.

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <sstream>

#include "arguments.h"
#include "base/error.h"
#include "base/log.h"
#include "base/untrusted_text.h"
#include "commands.h"
#include "json/json_text.h"
#include "kept/recovery.h"
#include "option_names.h"
#include "output.h"
#include "program.h"
#include "wan/engine.h"
#include "wan/error.h"
#include "wan/processes.h"

namespace {

enum class ErrorForm { kText, kJson, kEvent };

/// Where a command writes events to standard output, an error is one of them; otherwise, and where those are lost, it goes
/// to standard error.
int report(const wan::Error& error, ErrorForm form) {
  const wan::ErrorCode code = error.code();
  const std::string message = wan::with_options(error.what());
  if (form != ErrorForm::kText) {
    nlohmann::ordered_json event = {{"event", "error"}, {"code", wan::error_code_name(code)}};
    if (!error.field().empty()) event["option"] = wan::option_name(error.field());
    event["message"] = message;
    const std::string line = wan::json_text(event);
    if (form == ErrorForm::kEvent) wan::write_json(line);
    if (form == ErrorForm::kJson || wan::lost_output() != nullptr)
      wan::write_note(stderr, wan::shown_json(line) + "\n");
  } else {
    wan::write_note(stderr, fmt::format("{}: {}\n", code == wan::ErrorCode::kCancelled ? "stopped" : "error",
                                        wan::shown_message(message)));
  }
  return wan::exit_status(code);
}

int run(const std::vector<std::string>& arguments) {
  CLI::App app("wan: Wan2.2 video generation as one native program", "wan");
  app.require_subcommand(1);
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);  // as Python's argparse
  app.set_version_flag("--version", std::string("wan ") + wan::version());
  bool verbose = false;
  app.add_flag("--verbose", verbose, "Diagnostics on standard error");
  const std::pair<const char*, wan::Command> commands[] = {
      {"generate", wan::add_generate_command(app)},     {"bench", wan::add_bench_command(app)},
      {"convert", wan::add_convert_command(app)},       {"doctor", wan::add_doctor_command(app)},
      {"download", wan::add_download_command(app)},     {"extend", wan::add_extend_command(app)},
      {"inspect", wan::add_inspect_command(app)},       {"plan", wan::add_plan_command(app)},
      {"preprocess", wan::add_preprocess_command(app)}, {"tokenize", wan::add_tokenize_command(app)}};
  try {
    wan::parse_arguments(app, arguments);
  } catch (const CLI::ParseError& help) {
    std::ostringstream text;
    const int status = app.exit(help, text, text);
    wan::write_output(text.str());
    return status;
  }
  if (verbose) wan::set_log_level(wan::LogLevel::kDebug);
  for (const auto& [name, command] : commands)
    if (app.got_subcommand(name)) command();
  return 0;
}

}  // namespace

int wan::run_program(int argc, char** argv) {
  wan::open_closed_streams();
  wan::set_log_spelling(wan::option_name);
  ::setenv("SVT_LOG", "0", 0);  // or the AV1 encoder writes to standard error; what fails in it, FFmpeg tells
  const std::vector<std::string> arguments(argv + std::min(argc, 1), argv + argc);
  // What stands before the command takes no values. The other commands print one JSON document, which an error must not
  // break.
  const auto command = std::find_if(arguments.begin(), arguments.end(),
                                    [](const std::string& argument) { return !argument.starts_with("-"); });
  const bool events = command != arguments.end() &&
                      (*command == "generate" || *command == "download" || *command == "preprocess");
  const bool json = std::find(arguments.begin(), arguments.end(), "--json") != arguments.end();
  const auto fail_with = [&](const wan::Error& error) {
    return report(error, json ? (events ? ErrorForm::kEvent : ErrorForm::kJson) : ErrorForm::kText);
  };
  int status = 0;
  try {
    if (const auto other = wan::join_processes()) return *other;
    status = run(arguments);
    const char* const lost = wan::lost_output();
    if (lost != nullptr)
      status = fail_with({wan::ErrorCode::kIo, fmt::format("cannot write standard output: {}", lost)});
  } catch (...) {
    status = fail_with(wan::current_failure());
  }
  wan::leave_processes(status);
  return status;
}
