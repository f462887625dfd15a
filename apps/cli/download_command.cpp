// wan download: a published model, or files of any repository, from Hugging Face or ModelScope.

#include <memory>
#include <nlohmann/json.hpp>

#include "arguments.h"
#include "base/error.h"
#include "base/shell_quote.h"
#include "base/untrusted_text.h"
#include "commands.h"
#include "json/json_text.h"
#include "option_names.h"
#include "output.h"
#include "progress.h"
#include "signals.h"
#include "wan/download.h"

namespace wan {

namespace {

struct DownloadCommandOptions {
  DownloadOptions download;
  bool list = false;
  bool dry_run = false;
  bool json = false;
};

std::string gigabytes_of(std::int64_t bytes) {
  return fmt::format("{:.2f} GB", static_cast<double>(bytes) * 1e-9);
}

/// The models that go by a name.
void list_models(bool json) {
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  std::string text;
  for (const PublishedModel& model : published_models()) {
    const auto folder = downloaded_folder(model.name);
    all.push_back({{"name", model.name}, {"repository", model.repository}});
    if (folder) all.back()["folder"] = folder->string();
    text += fmt::format("{:<12} {}{}\n", model.name, model.repository,
                        folder ? "  (in " + shown(folder->string()) + ")" : "");
  }
  if (json) return write_json(json_text(all));
  write_output(text);
}

nlohmann::ordered_json as_json(const DownloadPlan& plan) {
  nlohmann::ordered_json files = nlohmann::ordered_json::array();
  for (const DownloadFile& file : plan.files) {
    files.push_back({{"path", file.path}, {"size", file.size}, {"there", file.there}});
    if (!file.sha256.empty()) files.back()["sha256"] = file.sha256;
    if (file.part > 0) files.back()["part"] = file.part;
  }
  return {
      {"repository", plan.repository}, {"commit", plan.commit},           {"folder", plan.folder.string()},
      {"bytes", plan.bytes()},         {"missing", plan.missing_bytes()}, {"files", files},
      {"others", plan.others}};
}

/// A line a file: its bytes, what there is of it, its path. With `others`, what would be left out as well.
std::string as_text(const DownloadPlan& plan, bool others) {
  std::string text;
  for (const DownloadFile& file : plan.files)
    text += fmt::format("{:>14}  {:<8} {}\n", file.size,
                        file.there ? "there"
                        : file.part > 0
                            ? fmt::format("{}%", 100 * file.part / std::max<std::int64_t>(1, file.size))
                            : "",
                        shown(file.path));
  if (others)
    for (const std::string& path : plan.others)
      text += fmt::format("{:>14}  {:<8} {}\n", "", "left out", shown(path));
  return text + fmt::format("{} files, {}, of which {} are yet to come, into {}\n", plan.files.size(),
                            gigabytes_of(plan.bytes()), gigabytes_of(plan.missing_bytes()),
                            shown(plan.folder.string()));
}

void run_download(const DownloadCommandOptions& options) {
  const DownloadOptions& asked = options.download;
  if (options.list && asked.name.empty()) return list_models(options.json);
  WAN_CHECK(!asked.name.empty(), kInvalidArgument,
            "what to download is missing: name a model, such as t2v-A14B, or a repository; wan download "
            "--list shows "
            "the models");
  WAN_CHECK_FIELD(asked.connections > 0, kInvalidArgument, "connections",
                  "--connections: expected 1 or more");
  WAN_CHECK_FIELD(asked.timeout > 0, kInvalidArgument, "timeout", "--timeout: expected more than 0 seconds");
  const std::atomic<bool>& interrupted = watch_signals();
  const DownloadPlan plan = plan_download(asked, &interrupted);
  if (options.list || options.dry_run) {
    if (options.json) return write_json(json_text(as_json(plan)));
    return write_output(as_text(plan, options.list));
  }
  ProgressDisplay display(stderr, can_redraw_lines(stderr));
  const EventHandler on_event = [&](Event event) {
    if (auto* const notice = std::get_if<Notice>(&event)) notice->message = with_options(notice->message);
    if (options.json)
      write_json(to_json(event));
    else
      display(event);
  };
  try {
    download(asked, plan, on_event, &interrupted);
  } catch (...) {
    display.end_line();
    throw;
  }
  if (options.json) {
    const nlohmann::ordered_json event = {{"event", "downloaded"},
                                          {"folder", plan.folder.string()},
                                          {"files", plan.files.size()},
                                          {"bytes", plan.bytes()}};
    return write_json(json_text(event));
  }
  write_note(stderr, fmt::format("{} files, {}, in\n", plan.files.size(), gigabytes_of(plan.bytes())));
  write_output(shell_quoted(plan.folder) + "\n");
}

}  // namespace

Command add_download_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "download", "Fetch a published model, or files of a repository, from Hugging Face or ModelScope");
  const auto options = std::make_shared<DownloadCommandOptions>();
  DownloadOptions& o = options->download;
  command->add_option("NAME", o.name,
                      "A model by its task's name, such as t2v-A14B, or a repository, ORG/REPO");
  command->add_option(
      "FILES", o.files,
      "Files, folders or patterns (\"split_files/vae/*\"); left out, what the program reads of a model "
      "that goes by a name, and all of another repository");
  command->add_option("--source", o.source, "huggingface or modelscope")->capture_default_str();
  command->add_option("--revision", o.revision, "A branch, tag or commit (default: the main branch)");
  command->add_option(
      "--local_dir", o.local_dir,
      "Folder for the files (default: ORG/REPO below WAN_MODELS, or ~/.local/share/wan/models)");
  command
      ->add_option_function<std::string>(
          "--connections",
          [&o](const std::string& text) { o.connections = parse_number<int>("--connections", text); },
          "Files at a time (default: 4)")
      ->type_name("INT");
  command
      ->add_option_function<std::string>(
          "--timeout", [&o](const std::string& text) { o.timeout = parse_number<double>("--timeout", text); },
          "Seconds without a byte after which a connection is given up (default: 60)")
      ->type_name("FLOAT");
  command->add_flag("--list", options->list,
                    "Show the repository's files, or the models that go by a name, and stop");
  command->add_flag("--dry_run", options->dry_run, "Show what would be fetched, and stop");
  command->add_flag("--json", options->json, "One event a line; with --list or --dry_run one JSON document");
  return [options] { run_download(*options); };
}

}  // namespace wan
