#pragma once
// The options of `wan generate`: the official ones with their spelling, meaning and defaults, and ours.

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "preprocess_options.h"
#include "wan/engine.h"
#include "wan/extension.h"

namespace wan {

/// Options as text, before they are checked. The names are those of the command line.
struct GenerateOptions {
  // official
  std::string task = "t2v-A14B";
  std::optional<std::string> size;
  std::optional<int> frame_num;
  std::string ckpt_dir;
  std::optional<std::string> offload_model;
  std::optional<int> ulysses_size;
  bool t5_fsdp = false;
  bool t5_cpu = false;
  bool dit_fsdp = false;
  std::string image;
  std::string save_file;
  std::optional<std::string> prompt;
  std::int64_t base_seed = -1;
  std::optional<std::string> sample_solver;
  std::optional<int> sample_steps;
  std::optional<double> sample_shift;
  std::optional<std::string> sample_guide_scale;
  bool convert_model_dtype = false;
  std::string audio;
  bool enable_tts = false;
  std::string tts_prompt_audio;
  std::optional<std::string> tts_prompt_text;
  std::optional<std::string> tts_text;
  std::optional<int> num_clip;
  std::string pose_video;
  bool start_from_ref = false;
  std::optional<int> infer_frames;
  std::string src_root_path;
  std::optional<int> refert_num;
  bool replace_flag = false;
  bool use_relighting_lora = false;
  bool use_prompt_extend = false;
  PromptExtension extension;
  // ours
  CheckpointParts parts;
  std::vector<std::string> lora;
  bool lora_allow_unmatched = false;
  std::optional<std::string> preset;
  std::optional<std::string> sample_timesteps;
  std::optional<double> audio_start;
  std::optional<double> audio_duration;
  std::optional<std::string> pose_frames;
  bool official_sync = false;
  bool official_output = false;
  std::string video;  // that is preprocessed
  PreprocessArguments preprocess;
  std::string tts_command;
  std::string last_image;
  std::optional<std::string> negative_prompt;
  std::string device = "auto";
  std::optional<std::string> gpus;
  std::string guidance_parallel = "auto";
  double rank_timeout = 300;
  std::string p2p = "auto";
  std::string precision;
  std::string vae_precision = "fp32";
  std::string rng;
  std::string residency = "auto";
  std::optional<std::string> memory_limit;
  int threads = 0;
  std::optional<double> fps;
  std::optional<std::string> codec;
  std::optional<int> crf;
  std::string save_latents;
  std::string from_latents;
  double keep_every = 5;  // minutes
  std::string keep_dir;
  std::string dump;
  bool dump_taps = false;
  bool check = false;
  bool json = false;
  bool plan = false;
  std::string requests;  // a file of many requests, whose defaults the other options are
};

/// Registers every option on the subcommand, the official ones of other tasks included: those
/// are refused with a line of their own.
void add_generate_options(CLI::App& command, GenerateOptions& options);

/// What the options ask for. Throws InvalidArgument or Unsupported. `notices` receives what is accepted without effect.
GenerationRequest make_request(const GenerateOptions& options, std::vector<std::string>& notices);
EngineOptions make_engine_options(const GenerateOptions& options);
/// Who extends the request's prompt, which is checked; nothing where none was asked for, or where kept latents have a prompt already.
std::optional<PromptExtender> make_extender(const GenerateOptions& options, GenerationRequest& request,
                                            std::vector<std::string>& notices);

/// generate.py's name for an unnamed file: task_size_ranks_prompt_time.mp4; `.png` for a still.
std::string default_save_file(const GenerateOptions& options, const VideoSize& size, int frame_num);

}  // namespace wan
