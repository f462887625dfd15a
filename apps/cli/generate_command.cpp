// wan generate: options to a request, a request to a video, events to the screen.

#include <memory>

#include "base/error.h"
#include "commands.h"
#include "extension_options.h"
#include "generate_command.h"
#include "kept/kept_generations.h"
#include "media/output.h"
#include "option_names.h"
#include "output.h"
#include "progress.h"
#include "raw_video.h"
#include "requests_command.h"
#include "signals.h"
#include "tts_command.h"
#include "wan/engine.h"

namespace wan {

std::filesystem::path unnamed_output(const GenerateOptions& options, const GenerationRequest& request) {
  if (!options.from_latents.empty()) {
    const std::string suffix = ".latents.safetensors";
    const std::string latents = newest_generation(options.from_latents).string();
    WAN_CHECK_FIELD(latents.ends_with(suffix), kInvalidArgument, "save_file",
                    "--save_file is missing: name the video that {} becomes", options.from_latents);
    const std::filesystem::path video = latents.substr(0, latents.size() - suffix.size());
    // Beside another's latents they are called video.mp4.2.latents.safetensors.
    const std::string number = video.extension().string();
    const bool numbered = number.size() > 1 && number.find_first_not_of("0123456789", 1) == std::string::npos;
    return numbered ? video.parent_path() / video.stem() : video;
  }
  const ModelDefaults defaults = load_model_defaults(request.task, options.ckpt_dir);
  return default_save_file(options, request.size.value_or(defaults.size),
                           request.frame_num.value_or(defaults.frame_num));
}

namespace {

void run_generate(const GenerateOptions& options) {
  if (!options.requests.empty()) return make_requests(options);
  std::vector<std::string> notices;
  GenerationRequest request = make_request(options, notices);
  const EngineOptions engine_options = make_engine_options(options);
  if (request.save_file.empty()) request.save_file = unnamed_output(options, request);
  std::optional<RawVideo> raw_video;
  if (!options.video.empty()) raw_video.emplace(options, request.save_file);
  std::optional<PromptExtender> extender = make_extender(options, request, notices);
  Engine engine(engine_options);
  speak_where_asked(options, request, notices);
  if (raw_video)
    check_output_writable(request.save_file, request.frame_num.value_or(2));
  else
    engine.check(request);
  if (options.plan) {
    const MemoryPlan plan = engine.plan(request);
    if (options.json) {
      write_json(to_json(plan));
    } else {
      write_output(to_string(plan));
    }
    return;
  }

  const std::atomic<bool>& interrupted = watch_signals();
  ProgressDisplay display(stderr, can_redraw_lines(stderr));
  const EventHandler on_event = [&](Event event) {
    if (auto* const notice = std::get_if<Notice>(&event)) notice->message = with_options(notice->message);
    if (options.json) {
      write_json(to_json(event));
    } else {
      display(event);
    }
  };
  for (const std::string& notice : notices) on_event(Notice{notice});
  GenerationResult result;
  try {
    if (raw_video) {
      raw_video->preprocess_for(request, engine, on_event, &interrupted);
      engine.check(request);
    }
    extend_request(extender, request, on_event, &interrupted);
    result = engine.generate(request, on_event, &interrupted);
  } catch (...) {
    display.end_line();
    if (raw_video && !request.animation.src_root_path.empty())
      on_event(Notice{
          format_message("what preprocessing has made is in {}, for `src_root_path` and `from_latents`",
                         raw_video->folder().string())});
    throw;
  }
  if (options.src_root_path.empty()) RawVideo::remove(result.source);  // of a run before, too
  WAN_CHECK(lost_output() == nullptr, kIo,
            "{} is whole, but events were lost: cannot write standard output: {}", request.save_file.string(),
            lost_output());
}

}  // namespace

Command add_generate_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("generate", "Make a video from a prompt, an image or both");
  const auto options = std::make_shared<GenerateOptions>();
  add_generate_options(*command, *options);
  return [options] { run_generate(*options); };
}

}  // namespace wan
