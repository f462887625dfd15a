#include "generate_options.h"

#include <fmt/chrono.h>

#include <chrono>
#include <cstdlib>

#include "arguments.h"
#include "base/error.h"
#include "base/untrusted_text.h"
#include "extension_options.h"
#include "option_names.h"
#include "part_options.h"

namespace wan {

namespace {

constexpr const char* kOfficial = "Official options";
constexpr const char* kMore = "More options";
constexpr const char* kVideo = "animate-14B from a video (wan preprocess tells more)";

/// An option with a number as its value; `target` may be optional.
template <typename T, typename Target>
CLI::Option* add_number(CLI::App& command, const std::string& name, Target& target,
                        const std::string& description) {
  const auto store = [&target, name](const std::string& text) { target = parse_number<T>(name, text); };
  return command.add_option_function<std::string>(name, store, description)
      ->type_name(std::is_integral_v<T> ? "INT" : "FLOAT");
}

/// Bytes of the prompt in a file's name, so that the rest of it, and the name of the latents beside it, fit into 255.
constexpr std::size_t kMostNameBytes = 160;

/// The first `count` characters of UTF-8 text, or fewer that fit into `bytes`.
std::string beginning(const std::string& text, int count, std::size_t bytes) {
  std::size_t end = 0;
  while (end < text.size() && count > 0) {
    std::size_t next = end + 1;
    while (next < text.size() && (static_cast<unsigned char>(text[next]) & 0xc0u) == 0x80u) ++next;
    if (next > bytes) break;
    end = next;
    --count;
  }
  return text.substr(0, end);
}

}  // namespace

void add_generate_options(CLI::App& command, GenerateOptions& o) {
  command
      .add_option("--task", o.task, "What to generate: t2v-A14B, i2v-A14B, ti2v-5B, s2v-14B or animate-14B")
      ->capture_default_str()
      ->group(kOfficial);
  command
      .add_option("--size", o.size,
                  "Width*height in pixels (832*480); with an image, the video's area, of s2v-14B the largest")
      ->group(kOfficial);
  add_number<int>(command, "--frame_num", o.frame_num,
                  "Frames, 4n+1; 1 makes a still; animate-14B: of a clip")
      ->group(kOfficial);
  command
      .add_option(
          "--ckpt_dir", o.ckpt_dir,
          "Checkpoint: a folder in the official layout, diffusers' or ComfyUI's, or the name of a model in "
          "Hugging Face's cache")
      ->group(kOfficial);
  command.add_option("--prompt", o.prompt, "What the video shows")->group(kOfficial);
  command
      .add_option("--image", o.image,
                  "Picture that the video begins with (JPEG, PNG, WebP); s2v-14B: of who speaks")
      ->group(kOfficial);
  command.add_option("--save_file", o.save_file, "NAME.mp4, NAME.png (a still) or NAME_%05d.png (frames)")
      ->group(kOfficial);
  add_number<std::int64_t>(command, "--base_seed", o.base_seed, "Seed of the noise; a negative one draws one")
      ->default_str("-1")
      ->group(kOfficial);
  command.add_option("--sample_solver", o.sample_solver, "unipc, dpm++ or euler")->group(kOfficial);
  add_number<int>(command, "--sample_steps", o.sample_steps, "Denoising steps")->group(kOfficial);
  add_number<double>(command, "--sample_shift", o.sample_shift, "Shift of the noise schedule")
      ->group(kOfficial);
  command
      .add_option("--sample_guide_scale", o.sample_guide_scale,
                  "Guidance scale: one value, or low,high noise")
      ->group(kOfficial);
  command
      .add_flag("--convert_model_dtype", o.convert_model_dtype, "Hold weights in bf16 (as --precision bf16)")
      ->group(kOfficial);
  command
      .add_option("--offload_model", o.offload_model,
                  "True: never more blocks in a GPU's memory than one transformer has; False or not given: "
                  "as many as fit")
      ->group(kOfficial);
  command
      .add_flag("--t5_cpu", o.t5_cpu,
                "With a GPU: run the text encoder on the CPU, its weights in the host's memory alone")
      ->group(kOfficial);
  command
      .add_flag(
          "--t5_fsdp", o.t5_fsdp,
          "Several GPUs: each keeps a part of every block of the text encoder; one has nothing to divide")
      ->group(kOfficial);
  command
      .add_flag(
          "--dit_fsdp", o.dit_fsdp,
          "Several GPUs: each keeps a part of every block of the transformers, so that all of them take the "
          "memory of one; one has nothing to divide")
      ->group(kOfficial);
  add_number<int>(command, "--ulysses_size", o.ulysses_size,
                  "Ranks that share the video's tokens: as many GPUs, or parts of the CPU, of all processes "
                  "that mpirun or "
                  "srun started (default: one a GPU)")
      ->group(kOfficial);

  command.add_option("--audio", o.audio, "s2v-14B: the sound of who speaks, any file that FFmpeg decodes")
      ->group(kOfficial);
  add_number<int>(command, "--num_clip", o.num_clip,
                  "s2v-14B: clips at most (default: as many as the sound fills)")
      ->group(kOfficial);
  add_number<int>(command, "--infer_frames", o.infer_frames, "s2v-14B: frames of a clip, 4n up to 120")
      ->default_str("80")
      ->group(kOfficial);
  command.add_option("--pose_video", o.pose_video, "s2v-14B: a video of the poses to take")->group(kOfficial);
  command.add_flag("--start_from_ref", o.start_from_ref, "s2v-14B: the video begins with the picture itself")
      ->group(kOfficial);
  command
      .add_flag("--enable_tts", o.enable_tts,
                "s2v-14B: --tts_command speaks --tts_text, and that is the sound")
      ->group(kOfficial);
  command.add_option("--tts_text", o.tts_text, "What is said")->group(kOfficial);
  command.add_option("--tts_prompt_audio", o.tts_prompt_audio, "A voice to speak with, for {prompt_audio}")
      ->group(kOfficial);
  command.add_option("--tts_prompt_text", o.tts_prompt_text, "What that voice says, for {prompt_text}")
      ->group(kOfficial);

  command
      .add_option("--src_root_path", o.src_root_path,
                  "animate-14B: the folder that preprocessing has written, with src_pose.mp4 in it")
      ->group(kOfficial);
  add_number<int>(command, "--refert_num", o.refert_num,
                  "animate-14B: frames of a clip that the next one begins with, 1 or 5")
      ->default_str("1")
      ->group(kOfficial);
  command
      .add_flag("--replace_flag", o.replace_flag,
                "animate-14B: the character takes someone's place in the video, src_bg.mp4 and src_mask.mp4")
      ->group(kOfficial);

  command
      .add_flag("--use_relighting_lora", o.use_relighting_lora,
                "animate-14B: the scene's light on the character, by the checkpoint's LoRA")
      ->group(kOfficial);

  command
      .add_flag("--use_prompt_extend", o.use_prompt_extend,
                "Have a language model make the prompt a detailed one before the video's models are loaded")
      ->group(kOfficial);
  add_extension_options(command, o.extension, kOfficial);

  command
      .add_option(
          "--video", o.video,
          "animate-14B: the video whose movements --image gets: it is preprocessed first, at --fps (30)")
      ->group(kVideo);
  add_preprocess_arguments(command, o.preprocess, kVideo, kVideo);

  add_number<double>(command, "--audio_start", o.audio_start,
                     "s2v-14B: seconds of the sound to leave out first")
      ->default_str("0")
      ->group(kMore);
  add_number<double>(command, "--audio_duration", o.audio_duration,
                     "s2v-14B: seconds of the sound to take (default: all)")
      ->group(kMore);
  command
      .add_option(
          "--pose_frames", o.pose_frames,
          "Frames of the pose video: every-nth, the official choice, which may drift against the sound, "
          "or time (default: every-nth)")
      ->group(kMore);
  command
      .add_flag("--official_sync", o.official_sync,
                "s2v-14B: the picture 3 frames ahead of the sound, as the official code leaves it")
      ->group(kMore);
  command
      .add_flag("--official_output", o.official_output,
                "animate-14B: 30 frames a second without sound, as the official code's files; otherwise the "
                "source's "
                "rate and sound")
      ->group(kMore);
  command
      .add_option(
          "--tts_command", o.tts_command,
          "A program and its words, run without a shell: {out} is the .wav to write, {text} what is said, "
          "which is on its standard input too, {prompt_audio} and {prompt_text} the voice's")
      ->group(kMore);
  command
      .add_option("--lora", o.lora,
                  "LoRA to merge: FILE[:STRENGTH][@high|@low], any number of times; without @ for the expert "
                  "that the file's "
                  "name tells, otherwise both")
      ->type_name("FILE")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->allow_extra_args(false)
      ->group(kMore);
  command
      .add_flag("--lora_allow_unmatched", o.lora_allow_unmatched,
                "Leave out what of a LoRA is not known, instead of refusing it")
      ->group(kMore);
  command
      .add_option(
          "--preset", o.preset,
          "Published settings of distilled models and LoRAs: lightning-4 or lightning-8 (t2v-A14B, "
          "i2v-A14B; -4 of animate-14B too), lightning-flf2v-4 (i2v-A14B with a last image), "
          "wangp-4 (t2v-A14B, i2v-A14B), fastwan-3 or turbo-4 (ti2v-5B); other options stand above them")
      ->group(kMore);
  command
      .add_option(
          "--sample_timesteps", o.sample_timesteps,
          "What the model is given in each step, such as 1000,937.5,833.3,625, in place of --sample_steps")
      ->group(kMore);
  add_part_options(command, o.parts, kMore);
  command.add_option("--last_image", o.last_image, "Picture that the video ends with (i2v-A14B)")
      ->group(kMore);
  command
      .add_option("--negative_prompt", o.negative_prompt,
                  "What to avoid; \"\" for nothing (default: the model's)")
      ->group(kMore);
  command.add_option("--device", o.device, "cpu, cuda, cuda:N, or auto: a GPU where one is usable")
      ->capture_default_str()
      ->group(kMore);
  command
      .add_option("--gpus", o.gpus, "GPUs that work on the video together: how many, or which, such as 0,2,3")
      ->group(kMore);
  command
      .add_option("--guidance_parallel", o.guidance_parallel,
                  "on: the two passes of guidance at the same time, each on a half of the ranks, which "
                  "--ulysses_size then counts; off; or auto")
      ->capture_default_str()
      ->group(kMore);
  command
      .add_option("--p2p", o.p2p,
                  "on: GPUs read each other's memory; off: they exchange through the host's; auto: on where "
                  "the driver has it")
      ->capture_default_str()
      ->group(kMore);
  add_number<double>(command, "--rank_timeout", o.rank_timeout,
                     "Seconds after which ranks that wait for another one give up")
      ->default_str("300")
      ->group(kMore);
  command.add_option("--precision", o.precision, "fp32 or bf16 (default: fp32 on the CPU, bf16 on a GPU)")
      ->group(kMore);
  command
      .add_option("--vae_precision", o.vae_precision,
                  "fp32, or bf16: the VAE in half the memory, its frames some 57 dB from those in fp32")
      ->capture_default_str()
      ->group(kMore);
  command
      .add_option("--rng", o.rng, "torch-cpu, or torch-cuda[:SMSxTHREADS|:GPU name] (default: the device's)")
      ->group(kMore);
  command
      .add_option("--residency", o.residency,
                  "Transformer blocks: resident, streamed from the files, or auto")
      ->capture_default_str()
      ->group(kMore);
  command
      .add_option("--memory_limit", o.memory_limit,
                  "Memory of the device to plan for, such as 16GB or 15.5GiB; a bare number is GB")
      ->group(kMore);
  add_number<int>(command, "--threads", o.threads, "CPU threads (default: all this process may use)")
      ->group(kMore);
  add_number<double>(command, "--fps", o.fps, "Frames a second to play the file at; their number stays")
      ->group(kMore);
  command
      .add_option("--codec", o.codec, "Of the .mp4: h264, h265 or av1, where FFmpeg has it (default: h264)")
      ->group(kMore);
  add_number<int>(command, "--crf", o.crf, "Quality of the .mp4: 0, the best, to 51, of av1 to 63")
      ->group(kMore);
  command.add_option("--save_latents", o.save_latents, "Keep the final latents in FILE.safetensors")
      ->group(kMore);
  command.add_option("--from_latents", o.from_latents, "Go on from latents that an earlier run kept")
      ->group(kMore);
  add_number<double>(command, "--keep_every", o.keep_every,
                     "Minutes after which the unfinished run is kept anew; 0: only when it ends early")
      ->default_str("5")
      ->group(kMore);
  command
      .add_option("--keep_dir", o.keep_dir,
                  "Folder for what is kept of an unfinished run (default: the video's)")
      ->group(kMore);
  command.add_option("--dump", o.dump, "Write intermediate tensors as .npy files into this folder")
      ->group(kMore);
  command.add_flag("--dump_taps", o.dump_taps, "With --dump: every named layer output too")->group(kMore);
  command.add_flag("--check", o.check, "Name the layer and op where a value first is not finite (slow)")
      ->group(kMore);
  command.add_flag("--json", o.json, "One event a line, as JSON, on standard output")->group(kMore);
  command.add_flag("--plan", o.plan, "Print what the run would hold in memory, and stop")->group(kMore);
  command
      .add_option(
          "--requests", o.requests,
          "Many videos: FILE.jsonl, or - for standard input, with a JSON object a line whose keys are "
          "options ({\"prompt\": \"a cat\", \"base_seed\": 1}); those given here are the lines' defaults")
      ->group(kMore);
}

GenerationRequest make_request(const GenerateOptions& o, std::vector<std::string>& notices) {
  const char* world = std::getenv("WORLD_SIZE");
  WAN_CHECK_FIELD(world == nullptr || std::atoi(world) <= 1, kUnsupported, "gpus",
                  "this is one of {0} processes that torchrun started; start one, without torchrun: --gpus "
                  "{0} uses so many GPUs of this machine, and mpirun or srun start one a machine",
                  world);
  const bool several = o.ulysses_size.value_or(1) > 1 || (o.gpus && parse_gpus("--gpus", *o.gpus).size() > 1);
  if ((o.t5_fsdp || o.dit_fsdp) && !several)
    notices.emplace_back(
        "--t5_fsdp and --dit_fsdp divide weights over several GPUs, and this run is on one; --gpus 2 takes "
        "two");
  WAN_CHECK_FIELD(!o.video.empty() || o.preprocess == PreprocessArguments{}, kInvalidArgument, "video",
                  "options of preprocessing are for --video; give it, or run wan preprocess with them and "
                  "name its folder with "
                  "--src_root_path");
  WAN_CHECK_FIELD(o.prompt || !o.from_latents.empty() || !o.src_root_path.empty() || !o.video.empty(),
                  kInvalidArgument, "prompt", "--prompt is missing: say what the video shows{}",
                  o.image.empty() && o.last_image.empty() ? "" : ", or pass \"\" to leave it to the image");

  GenerationRequest request;
  request.task = o.task;
  request.prompt = o.prompt.value_or("");
  request.negative_prompt = o.negative_prompt;
  if (o.size) request.size = parse_video_size(*o.size);
  request.frame_num = o.frame_num;
  if (o.base_seed >= 0) request.seed = o.base_seed;
  request.sample_solver = o.sample_solver;
  request.sample_steps = o.sample_steps;
  request.sample_shift = o.sample_shift;
  request.preset = o.preset;
  if (o.sample_timesteps) request.sample_timesteps = parse_timesteps(*o.sample_timesteps);
  if (o.sample_guide_scale) request.sample_guide_scale = parse_guidance_scale(*o.sample_guide_scale);
  request.rng = o.rng;
  request.image = o.image;
  request.last_image = o.last_image;
  request.speech = {.audio = o.audio,
                    .audio_start = o.audio_start,
                    .audio_duration = o.audio_duration,
                    .pose_video = o.pose_video,
                    .pose_frames = o.pose_frames,
                    .num_clip = o.num_clip,
                    .infer_frames = o.infer_frames,
                    .start_from_ref = o.start_from_ref,
                    .official_sync = o.official_sync};
  request.animation = {.src_root_path = o.src_root_path,
                       .replace_flag = o.replace_flag,
                       .refert_num = o.refert_num,
                       .official_output = o.official_output};
  request.save_file = o.save_file;
  request.output = {.fps = o.fps, .codec = o.codec, .crf = o.crf};
  request.save_latents = o.save_latents;
  request.from_latents = o.from_latents;
  request.keep_every = std::chrono::duration<double, std::ratio<60>>(o.keep_every);
  request.keep_dir = o.keep_dir;
  request.dump_dir = o.dump;
  request.dump_taps = o.dump_taps;
  request.check = o.check;
  return request;
}

EngineOptions make_engine_options(const GenerateOptions& o) {
  WAN_CHECK_FIELD(!o.ckpt_dir.empty() || o.parts != CheckpointParts{}, kInvalidArgument, "ckpt_dir",
                  "--ckpt_dir is missing: name the folder of the checkpoint, such as ./Wan2.2-T2V-A14B");
  WAN_CHECK_FIELD(
      !o.convert_model_dtype || o.precision != "fp32", kInvalidArgument, "convert_model_dtype",
      "--convert_model_dtype means bf16 weights and contradicts --precision fp32; drop one of them");
  EngineOptions options;
  options.ckpt_dir = o.ckpt_dir;
  options.parts = o.parts;
  for (const std::string& lora : o.lora) options.lora.push_back(parse_lora(lora));
  options.lora_allow_unmatched = o.lora_allow_unmatched;
  options.device = o.device;
  if (o.gpus) options.gpus = parse_gpus("--gpus", *o.gpus);
  options.ulysses_size = o.ulysses_size.value_or(0);
  WAN_CHECK_FIELD(!o.ulysses_size || *o.ulysses_size >= 1, kInvalidArgument, "ulysses_size",
                  "--ulysses_size {}: expected 1 or more", options.ulysses_size);
  options.guidance_parallel = o.guidance_parallel;
  options.p2p = o.p2p;
  options.rank_timeout = std::chrono::duration<double>(o.rank_timeout);
  options.precision = o.convert_model_dtype ? "bf16" : o.precision;
  options.vae_precision = o.vae_precision;
  options.residency = o.residency;
  options.offload_model = o.offload_model && parse_bool("--offload_model", *o.offload_model);
  options.t5_cpu = o.t5_cpu;
  options.use_relighting_lora = o.use_relighting_lora;
  options.t5_fsdp = o.t5_fsdp;
  options.dit_fsdp = o.dit_fsdp;
  if (o.memory_limit) options.memory_limit = parse_bytes("--memory_limit", *o.memory_limit);
  options.threads = o.threads;
  options.keep_models = false;
  return options;
}

std::optional<PromptExtender> make_extender(const GenerateOptions& o, GenerationRequest& request,
                                            std::vector<std::string>& notices) {
  if (!o.use_prompt_extend) return std::nullopt;
  if (!o.from_latents.empty()) {
    notices.emplace_back("the prompt is not extended again: that of --from_latents is used");
    request.prompt.clear();
    return std::nullopt;
  }
  std::optional<PromptExtender> extender(std::in_place, o.extension, make_engine_options(o));
  extender->check(request);
  return extender;
}

std::string default_save_file(const GenerateOptions& o, const VideoSize& size, int frame_num) {
  std::string prompt = without_controls(o.prompt.value_or(""), '_');
  for (char& c : prompt)
    if (c == ' ' || c == '/' || (c == '%' && frame_num == 1))
      c = '_';  // % begins a frame number in a .png's name
  return fmt::format("{}_{}_{}_{}_{:%Y%m%d_%H%M%S}{}", o.task, format_video_size(size),
                     o.ulysses_size.value_or(1), beginning(prompt, 50, kMostNameBytes),
                     fmt::localtime(std::time(nullptr)), frame_num == 1 ? ".png" : ".mp4");
}

}  // namespace wan
