#include "option_hints.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <string_view>

namespace wan {

namespace {

/// One of our options, the names that others have for it, and what to write where the name alone does not tell.
struct OtherNames {
  std::string_view ours;
  std::vector<std::string_view> others;
  std::string_view instead;
};

/// diffusers' and its examples', ComfyUI's, Wan2GP's, musubi-tuner's, stable-diffusion.cpp's, LightX2V's and FFmpeg's
/// names. A row counts where the command has our option; a row for what this program does not have stands under one that
/// `generate` alone has.
const std::vector<OtherNames>& other_names() {
  static const std::vector<OtherNames> table = {
      {"--base_seed", {"--seed", "--noise_seed", "--random_seed", "--manual_seed", "-s"}, ""},
      {"--sample_steps",
       {"--steps", "--num_inference_steps", "--infer_steps", "--inference_steps", "--num_steps",
        "--sampling_steps"},
       ""},
      {"--sample_guide_scale",
       {"--cfg_scale", "--cfg", "--guidance_scale", "--guidance", "--guide_scale", "--cfg_guidance_scale",
        "--sample_guidance_scale", "--embedded_cfg_scale"},
       ""},
      {"--sample_guide_scale",
       {"--guidance_scale_2", "--guidance2_scale", "--high_noise_cfg_scale", "--guidance_scale_high_noise"},
       "write both experts' scales as --sample_guide_scale LOW,HIGH"},
      {"--sample_shift", {"--shift", "--flow_shift", "--timestep_shift", "--discrete_flow_shift"}, ""},
      {"--sample_solver",
       {"--sampler", "--sampler_name", "--sampling_method", "--sample_method", "--scheduler", "--solver",
        "--sample_scheduler"},
       ""},
      {"--frame_num",
       {"--num_frames", "--frames", "--frame_count", "--video_frames", "--video_length", "--length",
        "--target_video_length", "--nframes", "--num_frame"},
       ""},
      {"--frame_num",
       {"--duration", "--seconds"},
       "write --frame_num N, the seconds times the frame rate plus one"},
      {"--size", {"--resolution", "--video_size", "--res", "--image_size", "--target_shape"}, ""},
      {"--size",
       {"--height", "--width", "-W", "-H", "-w", "--target_height", "--target_width"},
       "write --size WIDTH*HEIGHT, such as --size 832*480"},
      {"--prompt", {"-p", "--positive", "--positive_prompt", "--text", "--caption"}, ""},
      {"--negative_prompt",
       {"--negative", "--neg_prompt", "--n_prompt", "--neg", "--uncond_prompt", "-n"},
       ""},
      {"--image",
       {"-i", "--img", "--init_img", "--init_image", "--image_path", "--input_image", "--image_start",
        "--start_image", "--first_frame", "--first_image", "--first_frame_path", "--image_file"},
       ""},
      {"--last_image",
       {"--end_img", "--end_image", "--image_end", "--end_image_path", "--last_frame", "--last_frame_path",
        "--end_frame"},
       ""},
      {"--save_file",
       {"-o", "--output", "--out", "--output_path", "--output_file", "--outfile", "--save_path", "--save_dir",
        "--save_result_path", "--output_dir", "--output_directory", "--filename_prefix", "--save_name"},
       ""},
      {"--ckpt_dir",
       {"--model", "-m", "--model_path", "--model_dir", "--model_id", "--checkpoint", "--checkpoint_dir",
        "--checkpoint_path", "--ckpt", "--ckpt_path", "--ckpt_name", "--pretrained_model_name_or_path",
        "--pretrained_model_path", "--model_base"},
       ""},
      {"--low_noise",
       {"--dit", "--diffusion_model", "--unet_name", "--low_noise_model"},
       "name an A14B model's experts with --high_noise and --low_noise, another transformer with "
       "--transformer"},
      {"--high_noise", {"--high_noise_diffusion_model", "--dit_high_noise", "--high_noise_model"}, ""},
      {"--vae", {"--vae_path", "--vae_name", "--vae_model"}, ""},
      {"--text_encoder", {"--t5", "--t5xxl", "--clip_name", "--t5_path", "--text_encoder_path"}, ""},
      {"--task", {"--model_cls", "--model_type", "--model_name", "--pipeline", "--mode"}, ""},
      {"--device",
       {"--gpu", "--gpu_id", "--device_id", "--cuda", "--cuda_device", "--gpu_ids", "--main_gpu"},
       "write --device cuda, or --device cuda:N for the Nth GPU"},
      {"--device", {"--cpu"}, "write --device cpu"},
      {"--precision",
       {"--dtype", "--torch_dtype", "--weight_dtype", "--type", "--quant", "--quantization"},
       "write --precision fp32 or --precision bf16"},
      {"--precision", {"--bf16", "--fp32", "--fp16", "--half"}, "write --precision fp32 or --precision bf16"},
      {"--vae_precision", {"--vae_dtype", "--vae_type"}, ""},
      {"--t5_cpu", {"--text_encoder_cpu", "--clip_on_cpu", "--t5_on_cpu"}, ""},
      {"--residency",
       {"--lowvram", "--medvram", "--offload", "--cpu_offload", "--offload_to_cpu",
        "--enable_model_cpu_offload", "--enable_sequential_cpu_offload", "--blocks_to_swap", "--block_swap",
        "--low_vram", "--novram"},
       "blocks are streamed where they do not fit; --residency streamed streams them all"},
      {"--memory_limit",
       {"--vram", "--vram_limit", "--max_vram", "--max_memory", "--reserve_vram", "--perc_reserved_mem_max"},
       ""},
      {"--threads", {"-t", "--num_threads", "--n_threads", "--nthreads", "--cpu_threads"}, ""},
      {"--fps", {"--frame_rate", "--framerate", "--save_fps", "--video_fps", "--rate", "-r"}, ""},
      {"--crf", {"--quality", "--video_quality", "--output_quality", "-q"}, ""},
      {"--codec", {"--vcodec", "--video_codec", "--encoder", "--format", "--video_output_codec"}, ""},
      {"--plan", {"--dry_run", "--estimate"}, ""},
      {"--from_latents", {"--resume", "--latent_path", "--load_latents"}, ""},
      {"--save_latents", {"--output_type"}, "write --save_latents FILE.safetensors to keep the latents"},
      {"--guidance_parallel",
       {"--cfg_parallel", "--cfg_size", "--enable_cfg_parallel", "--cfg_parallel_size"},
       ""},
      {"--ulysses_size", {"--nproc_per_node", "--num_gpus", "--ngpu", "--ring_size", "--sp_size"}, ""},
      {"--verbose",
       {"-v", "--debug", "--log_level", "--verbosity"},
       "write wan --verbose before the command"},
      {"--lora",
       {"--loras", "--lora_dir", "--lora_path", "--lora_model_dir", "--lora_weight", "--lora_configs",
        "--lora_multiplier", "--high_noise_lora_path", "--low_noise_lora_path"},
       "write --lora FILE:STRENGTH, with @high or @low for one expert, once for each"},
      {"--save_file",
       {"--teacache", "--tea_cache", "--enable_teacache", "--use_teacache", "--skip_steps_cache_type"},
       "every step is computed, there is no cache of steps; leave it out"},
      {"--save_file",
       {"--batch_size", "--batch_count", "--num_videos", "--num_samples", "--repeat_generation", "-b"},
       "a run makes one video; start one for each seed"},
      {"--save_file",
       {"--vae_tiling", "--enable_vae_tiling", "--vae_tile_size", "--tiled_vae", "--enable_vae_slicing"},
       "frames are cut into tiles by themselves where memory is short; leave it out"},
      {"--save_file",
       {"--attention", "--attn_mode", "--attention_backend", "--diffusion_fa", "--flash_attn", "--xformers",
        "--use_sage_attention", "--compile"},
       "the fastest attention that the device has is used; leave it out"},
  };
  return table;
}

std::size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row.back();
}

std::string did_you_mean(const std::string& name) {
  return fmt::format(" (did you mean {}?)", name);
}

}  // namespace

std::string similar_name_hint(const std::vector<std::string>& names, const std::string& unknown) {
  std::string best;
  const std::size_t letters = unknown.size() - std::min(unknown.find_first_not_of('-'), unknown.size());
  std::size_t distance = std::min<std::size_t>(4, (letters + 2) / 3 + 1);  // further away is no typo
  for (const std::string& name : names) {
    const std::size_t found = edit_distance(name, unknown);
    if (found < distance) {
      distance = found;
      best = name;
    }
  }
  return best.empty() ? "" : did_you_mean(best);
}

std::string option_hint(const std::vector<std::string>& names, const std::string& unknown) {
  for (const OtherNames& row : other_names()) {
    if (std::find(row.others.begin(), row.others.end(), unknown) == row.others.end()) continue;
    if (std::find(names.begin(), names.end(), row.ours) == names.end()) continue;
    return row.instead.empty() ? fmt::format("; it is called {} here", row.ours)
                               : fmt::format("; {}", row.instead);
  }
  if (unknown.size() < 4) return "";  // any short option is a few edits from another
  // The beginning of a name, which argparse takes for the whole.
  const auto begins = [&](const std::string& name) { return name.starts_with(unknown); };
  if (std::count_if(names.begin(), names.end(), begins) == 1)
    return did_you_mean(*std::find_if(names.begin(), names.end(), begins));
  return similar_name_hint(names, unknown);
}

}  // namespace wan
