#include "engine/memory_plan.h"

#include <algorithm>
#include <functional>

#include "base/memory_info.h"
#include "diffusion/scheduler.h"

namespace wan {

namespace {

constexpr double kGb = 1e-9;

/// Scratch of one transformer pass over `tokens`, as WanTransformer::forward takes it: residual streams, patches and the
/// rotary table in f32; normed, query, key, value, attended, branch and the feed-forward's hidden layer in `compute`.
/// Attention works in blocks.
std::int64_t activation_bytes(const WanConfig& config, std::int64_t tokens, DType compute) {
  const std::int64_t patch = config.in_dim * config.patch[0] * config.patch[1] * config.patch[2];
  const std::int64_t f32 = kBranches * config.dim + config.head_dim() + 2 * patch;
  return tokens *
         (4 * f32 + static_cast<std::int64_t>(dtype_size(compute)) * (6 * config.dim + config.ffn_dim));
}

/// The embedded text in f32, keys and values in `compute`.
std::int64_t context_bytes(const CheckpointModels& models, DType compute) {
  std::int64_t bytes = 0;
  for (const CheckedTransformer& transformer : models.transformers)
    bytes += static_cast<std::int64_t>(kBranches) * transformer.config.text_len * transformer.config.dim *
             (4 + static_cast<std::int64_t>(dtype_size(compute)) * 2 * transformer.config.num_layers);
  return bytes;
}

bool on_cpu(const Backend& backend) {
  return backend.device().kind == DeviceKind::kCpu;
}

/// What the device has for this engine: what is free, and what the engine or the program holds of it already.
std::int64_t available_bytes(const Backend& backend) {
  if (on_cpu(backend)) return available_memory_bytes() + program_bytes();
  return backend.free_bytes() + backend.memory_use().now;
}

/// What the text encoder takes beside its blocks; its token table stays in the mapped file.
struct TextEncoderRest {
  std::int64_t norm = 0;
  std::int64_t scratch = 0;
};

TextEncoderRest text_encoder_rest(const Umt5Config& config, std::int64_t text_len) {
  return {.norm = 4 * config.dim,
          .scratch = 4 * text_len *
                     (3 * config.dim + 4 * config.dim_attention + 2 * config.dim_ffn +
                      2 * text_len * config.num_heads)};
}

/// The text encoder's blocks beside a device take two places, so that the host's memory stays free for the files that the
/// device's blocks come from; or one each, where they serve further runs and as much again is free.
ResidencyOptions text_residency(const PlanInput& input, std::size_t all_blocks) {
  const bool fits = static_cast<std::int64_t>(all_blocks) <= input.text_encoder_host->available / 2;
  const bool resident =
      input.residency == "resident" || (input.residency == "auto" && input.keep_models && fits);
  // A prompt has few tokens: to convert a block takes longer than to run it, and gets all processors.
  return {.kind = resident ? ResidencyKind::kResident : ResidencyKind::kStreamed,
          .keep = input.keep_models,
          .places = 2,
          .threads = 0};
}

/// Chooses how `load` holds the text encoder beside a device. Bytes of the host's memory.
std::int64_t plan_text_encoder_host(const PlanInput& input, LoadOptions& load) {
  const TextEncoderHost& host = *input.text_encoder_host;
  const auto blocks = [&] { return planned_residency_bytes(input.models, load).text_encoder_host; };
  LoadOptions::Blocks& text = load.text_encoder_host.emplace(LoadOptions::Blocks{host.weights, {}});
  text.residency = text_residency(input, blocks());
  const TextEncoderRest rest = text_encoder_rest(input.models.text_encoder, input.models.config().text_len);
  const std::int64_t bytes = static_cast<std::int64_t>(blocks()) + rest.norm + rest.scratch;
  WAN_CHECK(bytes <= host.available, kOutOfMemory,
            "the text encoder needs {:.2f} GB of the host's memory, {:.2f} GB are free; leave out --t5_cpu{}",
            static_cast<double>(bytes) * kGb, static_cast<double>(host.available) * kGb,
            text.residency.kind == ResidencyKind::kResident ? ", or choose --residency streamed" : "");
  return bytes;
}

bool is_tiled(const VaePlan& plan, const LatentExtent& extent) {
  return plan.tile_height < extent.height || plan.tile_width < extent.width;
}

/// Whether the VAE gets by with `bytes` of scratch without cutting frames into tiles; `plan` makes its plan for so much.
bool takes_whole_frames(const LatentExtent& extent, std::int64_t bytes,
                        const std::function<VaePlan(const LatentExtent&, std::size_t)>& plan) {
  if (bytes <= 0) return false;
  try {
    return !is_tiled(plan(extent, static_cast<std::size_t>(bytes)), extent);
  } catch (const Error&) {
    return false;
  }
}

/// Of the device's residency.
int block_count(const PlanInput& input) {
  std::int64_t count = input.text_encoder_host ? 0 : input.models.text_encoder.num_layers;
  for (const CheckedTransformer& transformer : input.models.transformers)
    count += transformer.config.num_layers;
  return static_cast<int>(count);
}

/// Blocks in memory while prompts and images are encoded, in the steps, and while frames are decoded.
struct HeldBlocks {
  std::int64_t encoding, denoising, decoding;
};

HeldBlocks held_blocks(const ResidencyBytes& blocks, bool keep) {
  const auto all = static_cast<std::int64_t>(blocks.all());
  if (keep) return {all, all, all};
  return {all, static_cast<std::int64_t>(blocks.transformers), 0};
}

}  // namespace

PlannedRun plan_run(const PlanInput& input) {
  const CheckpointModels& models = input.models;
  const WanConfig& config = models.config();
  const Shape& latent = input.latent;
  const std::int64_t tokens =
      latent[1] / config.patch[0] * (latent[2] / config.patch[1]) * (latent[3] / config.patch[2]);

  const DType compute = compute_dtype(input.backend, input.weights);
  PlannedRun run{};
  MemoryPlan& plan = run.plan;
  plan.program = on_cpu(input.backend) ? program_bytes() : input.backend.reserved_bytes();
  plan.available = input.memory_limit > 0 ? input.memory_limit : available_bytes(input.backend);
  const TextEncoderRest text =
      input.text_encoder_host ? TextEncoderRest{} : text_encoder_rest(models.text_encoder, config.text_len);
  plan.activations = std::max(activation_bytes(config, tokens, compute), text.scratch);
  plan.context_cache = context_bytes(models, compute);
  plan.latents =
      4 * latent.elements() * (2 + kBranches + 3);  // sample and velocity, predictions, solver history
  plan.latents +=
      4 * (latent.elements() / latent[0]) * (config.in_dim - config.out_dim);  // concatenated channels
  std::int64_t others = 0;
  for (const CheckedTransformer& transformer : models.transformers)
    others += static_cast<std::int64_t>(transformer.other_bytes);

  const LatentExtent extent{latent[1], latent[2], latent[3]};
  const auto vae_weights = static_cast<std::int64_t>(models.vae_bytes());
  run.load = {.weights = input.weights,
              .residency = {.kind = ResidencyKind::kResident, .keep = input.keep_models},
              .text_encoder_host = {}};
  if (input.text_encoder_host) plan.text_encoder_host = plan_text_encoder_host(input, run.load);
  const auto blocks = [&] { return planned_residency_bytes(models, run.load); };
  const ResidencyBytes all_blocks = blocks();
  const std::int64_t base = plan.program + others + text.norm + vae_weights + plan.latents;
  const std::int64_t denoising = plan.activations + plan.context_cache;
  WAN_CHECK(input.residency == "auto" || input.residency == "resident" || input.residency == "streamed",
            kInvalidArgument, "--residency {}: expected resident, streamed or auto", input.residency);
  // Blocks that have no place cost time in every step, a smaller VAE cache little, tiles a seam: so as many blocks have
  // one as fit beside a pass and whole frames.
  const HeldBlocks resident = held_blocks(all_blocks, input.keep_models);
  const std::int64_t beside = plan.available - base;
  const auto before_decoding = [&](const HeldBlocks& held) {
    return std::max(held.encoding + text.scratch, held.denoising + denoising);
  };
  const auto fits = [&](const HeldBlocks& held) {
    return beside >= before_decoding(held) &&
           takes_whole_frames(extent, beside - held.decoding,
                              std::bind_front(&VideoVae::plan_decode, models.vae.get())) &&
           (!input.encodes || takes_whole_frames(*input.encodes, beside - held.encoding,
                                                 std::bind_front(&VideoVae::plan_encode, models.vae.get())));
  };
  const bool one_model = input.offload_model && !on_cpu(input.backend);
  plan.blocks_resident =
      input.residency == "resident" || (input.residency == "auto" && !one_model && fits(resident));
  plan.block_places = block_count(input);
  if (!plan.blocks_resident) {
    run.load.residency.kind = ResidencyKind::kStreamed;
    // As many places as fit; two will do.
    int& places = run.load.residency.places;
    places = input.residency == "streamed" ? 2 : plan.block_places - 1;
    if (one_model) places = std::min(places, static_cast<int>(config.num_layers));
    while (places > 2 && !fits(held_blocks(blocks(), input.keep_models))) --places;
    places = std::max(places, 2);
    plan.block_places = places;
  }
  const ResidencyBytes counted = plan.blocks_resident ? all_blocks : blocks();
  const HeldBlocks held = plan.blocks_resident ? resident : held_blocks(counted, input.keep_models);
  plan.transformers = static_cast<std::int64_t>(counted.transformers) + others;
  plan.text_encoder = static_cast<std::int64_t>(counted.text_encoder) + text.norm;

  WAN_CHECK(beside >= before_decoding(held), kOutOfMemory,
            "encoding a prompt and a transformer pass over {} tokens need {:.2f} GB, weights and program "
            "included; {:.2f} GB are free; choose a smaller --size or --frame_num{}",
            tokens, static_cast<double>(base + before_decoding(held)) * kGb,
            static_cast<double>(plan.available) * kGb,
            plan.blocks_resident ? ", or --residency streamed" : "");
  run.decode = models.vae->plan_decode(extent, static_cast<std::size_t>(beside - held.decoding));
  if (input.encodes)
    run.encode = models.vae->plan_encode(*input.encodes, static_cast<std::size_t>(beside - held.encoding));
  const auto vae_scratch = static_cast<std::int64_t>(std::max(run.decode.bytes, run.encode.bytes));
  plan.vae = vae_weights + vae_scratch;
  if (is_tiled(run.decode, extent))
    plan.vae_tile = static_cast<int>(std::max(run.decode.tile_height, run.decode.tile_width)) *
                    models.vae->geometry().spatial_stride;
  plan.peak =
      base + std::max({before_decoding(held), held.encoding + static_cast<std::int64_t>(run.encode.bytes),
                       held.decoding + static_cast<std::int64_t>(run.decode.bytes)});
  return run;
}

std::string to_json(const MemoryPlan& plan) {
  return fmt::format(
      R"({{"event":"plan","program":{},"text_encoder":{},"text_encoder_host":{},"transformers":{},)"
      R"("context_cache":{},"activations":{},"vae":{},"latents":{},"peak":{},"available":{},)"
      R"("blocks_resident":{},"block_places":{},"vae_tile":{}}})",
      plan.program, plan.text_encoder, plan.text_encoder_host, plan.transformers, plan.context_cache,
      plan.activations, plan.vae, plan.latents, plan.peak, plan.available, plan.blocks_resident,
      plan.block_places, plan.vae_tile);
}

std::string to_string(const MemoryPlan& plan) {
  const auto gb = [](std::int64_t bytes) { return static_cast<double>(bytes) * kGb; };
  const std::string text_encoder_place =
      plan.text_encoder_host > 0
          ? fmt::format("  (on the CPU: {:.3f} GB of the host's memory)", gb(plan.text_encoder_host))
          : (plan.blocks_resident ? "" : "  (in the transformers' places)");
  return fmt::format(
      "program        {:8.3f} GB\n"
      "text encoder   {:8.3f} GB{}\n"
      "transformers   {:8.3f} GB  ({})\n"
      "context cache  {:8.3f} GB\n"
      "activations    {:8.3f} GB\n"
      "VAE            {:8.3f} GB  ({})\n"
      "latents        {:8.3f} GB\n"
      "peak           {:8.3f} GB of {:.3f} GB; not all of it is held at a time\n"
      "not counted: the tokenizer, the video's encoder, and pages of the mapped files, which are page "
      "cache\n",
      gb(plan.program), gb(plan.text_encoder), text_encoder_place, gb(plan.transformers),
      plan.blocks_resident ? "all blocks resident"
                           : fmt::format("blocks streamed through {} places", plan.block_places),
      gb(plan.context_cache), gb(plan.activations), gb(plan.vae),
      plan.vae_tile > 0 ? fmt::format("tiles of {} pixels", plan.vae_tile) : "whole frames", gb(plan.latents),
      gb(plan.peak), gb(plan.available));
}

}  // namespace wan
