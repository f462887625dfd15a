// wan plan: what a video would take of a machine, before a checkpoint is downloaded.

#include <cctype>
#include <memory>

#include "arguments.h"
#include "base/error.h"
#include "base/untrusted_text.h"
#include "commands.h"
#include "output.h"
#include "wan/tools.h"

namespace wan {

namespace {

struct PlanOptions {
  PublishedPlanOptions plan;
  std::string size;
  std::string gpu;
  bool json = false;
};

/// "24GB"; a number without a unit is a GPU's name: "4090".
bool is_memory(const std::string& gpu) {
  return !gpu.empty() && std::isdigit(static_cast<unsigned char>(gpu.front())) != 0 &&
         gpu.find_first_not_of("0123456789.") != std::string::npos;
}

std::string verdict(const PublishedPlan& planned) {
  const MemoryPlan& plan = planned.plan;
  std::string text = "It fits: ";
  if (plan.blocks_resident && plan.text_encoder_places > 0)
    text +=
        "the transformers stay in memory until their last use, the text encoder's blocks come once a video";
  else if (plan.blocks_resident)
    text += "all weights stay in memory until their last use";
  else if (plan.sharded_blocks == 0)
    text +=
        fmt::format("{} blocks have a place in memory, the others are read from the checkpoint in every step",
                    plan.block_places);
  else if (plan.sharded_blocks == plan.transformer_blocks)
    text += fmt::format("each of {} ranks keeps 1/{} of every transformer block until its last use",
                        plan.shards, plan.shards);
  else
    text += fmt::format(
        "each of {} ranks keeps 1/{} of {} of the {} transformer blocks, the others are read from the "
        "checkpoint "
        "in every step",
        plan.shards, plan.shards, plan.sharded_blocks, plan.transformer_blocks);
  if (plan.vae_tile > 0)
    text += fmt::format("; frames are decoded in tiles of {} pixels, whose seams may show", plan.vae_tile);
  return text + ".\n";
}

void run_plan(PlanOptions& options) {
  PublishedPlanOptions& asked = options.plan;
  if (!options.size.empty()) asked.size = parse_video_size(options.size);
  if (is_memory(options.gpu))
    asked.gpu_bytes = parse_bytes("--gpu", options.gpu);
  else
    asked.gpu = options.gpu;
  const PublishedPlan planned = plan_published(asked);
  if (options.json) return write_json(to_json(planned.plan));
  write_output(fmt::format(
      "{}, {}, {} frames, on {}\n{}{}", planned.task, format_video_size(planned.size), planned.frame_num,
      options.gpu.empty() ? (planned.on_gpu ? "this machine's GPU" : "this machine's CPU")
                          : shown(options.gpu),
      to_string(planned.plan), verdict(planned)));
}

}  // namespace

Command add_plan_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "plan", "Say what memory a video takes, by the published models' shapes, without a checkpoint");
  const auto options = std::make_shared<PlanOptions>();
  PublishedPlanOptions& o = options->plan;
  command->add_option("--task", o.task, "t2v-A14B, i2v-A14B, ti2v-5B, s2v-14B or animate-14B")
      ->capture_default_str();
  command->add_option("--size", options->size, "Width*height in pixels (default: the task's)");
  command
      ->add_option_function<std::string>(
          "--frame_num",
          [&o](const std::string& text) { o.frame_num = parse_number<int>("--frame_num", text); },
          "Frames, 4n+1; animate-14B: of a clip; s2v-14B: 4n, of a clip (default: the task's)")
      ->type_name("INT");
  command->add_option(
      "--gpu", options->gpu,
      "A GPU's memory or name, such as 24GB or \"RTX 4090\" (default: this machine, its GPU where one "
      "is usable)");
  command->add_flag("--with_image", o.image, "ti2v-5B: the video begins with a picture");
  command->add_option("--precision", o.precision, "fp32 or bf16 (default: fp32 on the CPU, bf16 on a GPU)");
  command->add_option("--vae_precision", o.vae_precision, "fp32 or bf16")->capture_default_str();
  command->add_option("--residency", o.residency, "resident, streamed or auto")->capture_default_str();
  command->add_flag("--t5_cpu", o.t5_cpu, "The text encoder on the CPU");
  command
      ->add_option_function<std::string>(
          "--ulysses_size",
          [&o](const std::string& text) { o.ulysses_size = parse_number<int>("--ulysses_size", text); },
          "Ranks that make the video together, each with such a GPU: the plan is one rank's (default: 1)")
      ->type_name("INT");
  command->add_option_function<std::string>(
      "--gpus",
      [&o](const std::string& text) { o.gpus = static_cast<int>(parse_gpus("--gpus", text).size()); },
      "So many such GPUs, how many or which, as wan generate divides a step over them: the plan is one's");
  command->add_flag("--dit_fsdp", o.dit_fsdp, "Ranks divide the transformers' blocks");
  command->add_flag("--t5_fsdp", o.t5_fsdp, "Ranks divide the text encoder's blocks");
  command
      ->add_option_function<std::string>(
          "--memory_limit",
          [&o](const std::string& text) { o.memory_limit = parse_bytes("--memory_limit", text); },
          "Memory to plan for, such as 16GB, a bare number is GB (default: what is free)")
      ->type_name("TEXT");
  command->add_flag("--json", options->json, "One JSON object, in bytes");
  return [options] { run_plan(*options); };
}

}  // namespace wan
