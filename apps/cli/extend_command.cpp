// wan extend: a prompt as a language model extends it, without a video.

#include <memory>
#include <nlohmann/json.hpp>

#include "argument_values.h"
#include "arguments.h"
#include "base/error.h"
#include "base/untrusted_text.h"
#include "commands.h"
#include "extension_options.h"
#include "json/json_text.h"
#include "option_names.h"
#include "output.h"
#include "progress.h"
#include "signals.h"

namespace wan {

namespace {

struct ExtendOptions {
  std::optional<std::string> task;
  std::optional<std::string> prompt;
  std::string image;
  std::string ckpt_dir;
  std::string device = "auto";
  std::optional<std::string> memory_limit;
  std::int64_t base_seed = -1;
  int threads = 0;
  PromptExtension extension;
  bool json = false;
};

GenerationRequest request_of(const ExtendOptions& options) {
  GenerationRequest request;
  request.task = options.task.value_or(options.image.empty() ? "t2v-A14B" : "i2v-A14B");
  WAN_CHECK_FIELD(options.prompt || !options.image.empty(), kInvalidArgument, "prompt",
                  "--prompt is missing: say what the video shows");
  request.prompt = options.prompt.value_or("");
  WAN_CHECK_FIELD(!request.prompt.empty() || !options.image.empty(), kInvalidArgument, "prompt",
                  "--prompt is empty: say what the video shows");
  request.image = options.image;
  if (options.base_seed >= 0) request.seed = options.base_seed;
  return request;
}

void run_extend(const ExtendOptions& options) {
  const GenerationRequest request = request_of(options);
  EngineOptions engine;
  engine.ckpt_dir = options.ckpt_dir;
  engine.device = options.device;
  engine.threads = options.threads;
  if (options.memory_limit) engine.memory_limit = parse_bytes("--memory_limit", *options.memory_limit);
  PromptExtender extender(options.extension, engine);
  extender.check(request);
  const std::atomic<bool>& interrupted = watch_signals();
  ProgressDisplay display(stderr, can_redraw_lines(stderr));
  const EventHandler on_event = [&](Event event) {
    if (std::holds_alternative<PromptExtended>(event)) return;  // it is what the command prints
    if (auto* const notice = std::get_if<Notice>(&event)) notice->message = with_options(notice->message);
    display(event);
  };
  ExtendedPrompt extended;
  try {
    extended = extender.extend(request, on_event, &interrupted);
  } catch (...) {
    display.end_line();
    throw;
  }
  display.end_line();
  if (!options.json) return write_output(shown(extended.prompt) + "\n");
  const nlohmann::ordered_json json = {{"prompt", extended.prompt},
                                       {"given", request.prompt},
                                       {"task", request.task},
                                       {"model", extended.model}};
  write_json(json_text(json));
}

}  // namespace

Command add_extend_command(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("extend", "Have a language model make a short prompt a detailed one");
  const auto options = std::make_shared<ExtendOptions>();
  command->add_option("--prompt", options->prompt, "The prompt; with an image it may be left out");
  command->add_option("--image", options->image, "Picture that the video begins with");
  command->add_option(
      "--task", options->task,
      "What the prompt is for: t2v-A14B, i2v-A14B or ti2v-5B (default: by whether there is an image)");
  add_extension_options(*command, options->extension, "Options");
  command
      ->add_option_function<std::string>(
          "--base_seed",
          [options](const std::string& text) {
            options->base_seed = parse_number<std::int64_t>("--base_seed", text);
          },
          "Seed of the words that are drawn; a negative one draws one")
      ->type_name("INT")
      ->default_str("-1");
  command->add_option("--ckpt_dir", options->ckpt_dir,
                      "A checkpoint, beside which Qwen2.5's folder is looked for");
  command->add_option("--device", options->device, "cpu, cuda, cuda:N, or auto: a GPU where one is usable")
      ->capture_default_str();
  command->add_option("--memory_limit", options->memory_limit,
                      "Memory of the device to plan for, such as 16GB");
  command
      ->add_option_function<std::string>(
          "--threads",
          [options](const std::string& text) { options->threads = parse_number<int>("--threads", text); },
          "CPU threads (default: all this process may use)")
      ->type_name("INT");
  command->add_flag("--json", options->json, "As JSON");
  return [options] { run_extend(*options); };
}

}  // namespace wan
