// wan preprocess: a video and a picture to the folder that a character's animation is made from.

#include <memory>
#include <nlohmann/json.hpp>

#include "arguments.h"
#include "base/untrusted_text.h"
#include "commands.h"
#include "json/json_text.h"
#include "option_names.h"
#include "output.h"
#include "preprocess_options.h"
#include "progress.h"
#include "signals.h"

namespace wan {

namespace {

struct PreprocessCommandOptions {
  PreprocessArguments arguments;
  PreprocessOptions preprocess;
  bool json = false;
};

nlohmann::ordered_json as_json(const PreprocessOptions& options, const PreprocessResult& result) {
  return {{"event", "preprocessed"},
          {"folder", options.save_path.string()},
          {"frames", result.frames},
          {"fps", result.fps},
          {"width", result.size.width},
          {"height", result.size.height},
          {"video_frames", result.video_frames},
          {"without_person", result.without_person},
          {"without_body", result.without_body},
          {"without_face", result.without_face},
          {"without_mask", result.without_mask},
          {"seconds", result.seconds}};
}

void run_preprocess(const PreprocessCommandOptions& given) {
  PreprocessOptions options = given.preprocess;
  take_preprocess_arguments(given.arguments, options);
  const std::atomic<bool>& interrupted = watch_signals();
  ProgressDisplay display(stderr, can_redraw_lines(stderr));
  const EventHandler on_event = [&](Event event) {
    if (auto* const notice = std::get_if<Notice>(&event)) notice->message = with_options(notice->message);
    if (given.json)
      write_json(to_json(event));
    else
      display(event);
  };
  PreprocessResult result{};
  try {
    result = preprocess(options, on_event, &interrupted);
  } catch (...) {
    display.end_line();
    throw;
  }
  if (given.json) return write_json(json_text(as_json(options, result)));
  write_note(stderr, fmt::format("saved {} in {}: {}\n", shown(options.save_path.string()),
                                 duration(result.seconds), summary_of(result)));
}

}  // namespace

Command add_preprocess_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "preprocess", "Make the folder that a character's animation is made from, of a video and a picture");
  const auto options = std::make_shared<PreprocessCommandOptions>();
  PreprocessOptions& o = options->preprocess;
  constexpr const char* kOfficial = "Official options";
  constexpr const char* kMore = "More options";
  const auto add_path = [&](const char* name, std::filesystem::path& target, const char* description) {
    command->add_option(name, target, description)->type_name("PATH")->group(kOfficial);
  };
  add_path("--video_path", o.video_path, "The video whose movements are taken");
  add_path("--refer_path", o.refer_path, "The picture of the character (JPEG, PNG, WebP)");
  add_path("--save_path", o.save_path, "The folder to write");
  command
      ->add_option_function<std::string>(
          "--fps", [&o](const std::string& text) { o.fps = parse_number<double>("--fps", text); },
          "Frames a second; -1: the video's own")
      ->type_name("FLOAT")
      ->default_str("30")
      ->group(kOfficial);
  command
      ->add_flag("--replace_flag", o.replace_flag,
                 "The character takes someone's place in the video: a mask and the scene too")
      ->group(kOfficial);
  add_preprocess_arguments(*command, options->arguments, kOfficial, kMore);
  command
      ->add_option_function<std::string>(
          "--face_size",
          [&o](const std::string& text) { o.face_size = parse_number<int>("--face_size", text); },
          "Pixels of a side of the face's video, of a checkpoint of another size")
      ->type_name("INT")
      ->default_str("512")
      ->group(kMore);
  command
      ->add_flag("--lossless", o.lossless,
                 "Write .mkv videos without loss in place of .mp4; wan generate reads both")
      ->group(kMore);
  command->add_option("--device", o.device, "cpu, cuda, cuda:N, or auto: a GPU where one is usable")
      ->capture_default_str()
      ->group(kMore);
  command
      ->add_option_function<std::string>(
          "--threads", [&o](const std::string& text) { o.threads = parse_number<int>("--threads", text); },
          "CPU threads (default: all that the process may use)")
      ->type_name("INT")
      ->group(kMore);
  command->add_flag("--json", options->json, "One event a line, as JSON, on standard output")->group(kMore);
  return [options] { run_preprocess(*options); };
}

}  // namespace wan
