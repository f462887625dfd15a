// wan convert: a checkpoint's transformers in fewer bits, or in bf16, with a table of what each layer is off by.

#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/untrusted_text.h"
#include "commands.h"
#include "json/json_text.h"
#include "output.h"
#include "part_options.h"
#include "wan/tools.h"

namespace wan {

namespace {

struct ConvertCommandOptions {
  std::string ckpt_dir;
  CheckpointParts parts;
  std::string target;
  std::string format;
  std::vector<std::string> lora;
  bool lora_allow_unmatched = false;
  bool json = false;
};

void run_convert(const ConvertCommandOptions& options) {
  WAN_CHECK_FIELD(!options.ckpt_dir.empty() || options.parts != CheckpointParts{}, kInvalidArgument,
                  "ckpt_dir", "--ckpt_dir is missing: name the folder of the checkpoint, or its parts");
  nlohmann::ordered_json tensors = nlohmann::ordered_json::array();
  nlohmann::ordered_json notices = nlohmann::ordered_json::array();
  std::int64_t bytes = 0;
  const auto on_tensor = [&](const ConvertedTensor& tensor) {
    bytes += tensor.bytes;
    if (options.json)
      tensors.push_back({{"model", tensor.model},
                         {"name", tensor.name},
                         {"dtype", tensor.dtype},
                         {"bytes", tensor.bytes},
                         {"error", tensor.error}});
    else if (tensor.error > 0)
      write_output(fmt::format("{:<56} {:<8} {:>12} bytes  off by {:.2e}\n",
                               shown(tensor.model + "." + tensor.name), tensor.dtype, tensor.bytes,
                               tensor.error));
  };
  const auto on_notice = [&](const std::string& notice) {
    if (options.json)
      notices.push_back(notice);
    else
      write_output(shown(notice) + "\n");
  };
  std::vector<LoraFile> loras;
  for (const std::string& lora : options.lora) loras.push_back(parse_lora(lora));
  convert({.ckpt_dir = options.ckpt_dir,
           .target = options.target,
           .format = options.format,
           .lora = std::move(loras),
           .lora_allow_unmatched = options.lora_allow_unmatched,
           .parts = options.parts},
          {.on_tensor = on_tensor, .on_notice = on_notice});
  if (options.json)
    write_json(json_text(
        nlohmann::ordered_json{{"target", options.target}, {"tensors", tensors}, {"notices", notices}}, 1));
  else
    write_output(fmt::format("{}: {:.1f} MB of transformers written\n", shown(options.target),
                             static_cast<double>(bytes) * 1e-6));
}

}  // namespace

Command add_convert_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "convert", "Write a checkpoint's transformers in fewer bits, or in bf16, into a new folder");
  const auto options = std::make_shared<ConvertCommandOptions>();
  command->add_option("--ckpt_dir", options->ckpt_dir, "The checkpoint, in any format that is read");
  add_part_options(*command, options->parts, "Parts in place of the folder's, or without one");
  command->add_option("target", options->target, "The new folder; of an interrupted conversion, its own")
      ->required();
  command
      ->add_option("--format", options->format,
                   "Of the blocks' matrices: bf16, fp8 or int8 (a scale a row), q8_0 or q4_0 (GGUF)")
      ->required();
  command
      ->add_option(
          "--lora", options->lora,
          "LoRA to merge: FILE[:STRENGTH][@high|@low], any number of times, as wan generate takes it")
      ->type_name("FILE")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->allow_extra_args(false);
  command->add_flag("--lora_allow_unmatched", options->lora_allow_unmatched,
                    "Leave out what of a LoRA is not known, instead of refusing it");
  command->add_flag("--json", options->json, "The table as JSON");
  return [options] { run_convert(*options); };
}

}  // namespace wan
