// wan tokenize: a prompt as the text encoder sees it.

#include <fmt/ranges.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "base/untrusted_text.h"
#include "commands.h"
#include "json/json_text.h"
#include "output.h"
#include "wan/tools.h"

namespace wan {

namespace {

struct TokenizeOptions {
  std::string ckpt_dir;
  std::string prompt;
  bool json = false;
};

void run_tokenize(const TokenizeOptions& options) {
  const TokenizedText text = tokenize(options.ckpt_dir, options.prompt);
  if (options.json) {
    const nlohmann::ordered_json json = {{"cleaned", text.cleaned},
                                         {"ids", text.ids},
                                         {"used", text.ids.size()},
                                         {"limit", text.limit},
                                         {"truncated", text.truncated}};
    write_json(json_text(json));
    return;
  }
  write_output(fmt::format("cleaned  {}\nids      {}\nused     {} of {}{}\n", shown(text.cleaned),
                           fmt::join(text.ids, " "), text.ids.size(), text.limit,
                           text.truncated ? "; the rest of the prompt was cut off" : ""));
}

}  // namespace

Command add_tokenize_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("tokenize", "Show a prompt's cleaned text and token ids");
  const auto options = std::make_shared<TokenizeOptions>();
  command->add_option("--ckpt_dir", options->ckpt_dir, "Checkpoint directory")->required();
  command->add_option("--prompt", options->prompt, "The prompt")->required();
  command->add_flag("--json", options->json, "As JSON");
  return [options] { run_tokenize(*options); };
}

}  // namespace wan
