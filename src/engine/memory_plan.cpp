#include "engine/memory_plan.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <thread>

#include "base/memory_info.h"
#include "engine/rehearsal.h"
#include "engine/residency_bytes.h"

namespace wan {

namespace {

constexpr double kGb = 1e-9;

bool on_cpu(const Backend& backend) {
  return backend.device().kind == DeviceKind::kCpu;
}

/// What the device has for this engine: what is free, and what the backend has given out already or the program holds.
std::int64_t available_bytes(Backend& backend) {
  backend.allocator().trim();  // what it keeps of memory that was given back is free for a plan
  return backend.free_bytes() + backend.memory_use().now + (on_cpu(backend) ? program_bytes() : 0);
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

std::size_t text_host_blocks(const PlanInput& input, const LoadOptions& load) {
  return planned_residency_bytes(input.models, load).text_encoder_host;
}

/// Bytes of the host's memory that `load` and the passes take there.
std::int64_t checked_text_host(const PlanInput& input, const LoadOptions& load, const RunBytes& run) {
  const TextEncoderHost& host = *input.text_encoder_host;
  const std::int64_t bytes = static_cast<std::int64_t>(text_host_blocks(input, load)) + run.text_host;
  WAN_CHECK(bytes <= host.available, kOutOfMemory,
            "the text encoder needs {:.2f} GB of the host's memory, {:.2f} GB are free; leave out `t5_cpu`{}",
            static_cast<double>(bytes) * kGb, static_cast<double>(host.available) * kGb,
            load.text_encoder_host->residency.kind == ResidencyKind::kResident
                ? ", or choose `residency` streamed"
                : "");
  return bytes;
}

bool is_tiled(const VaePlan& plan, const LatentExtent& extent) {
  return plan.tile_height < extent.height || plan.tile_width < extent.width;
}

int transformer_blocks(const PlanInput& input) {
  std::int64_t count = 0;
  for (const WanConfig& transformer : input.models.transformers) count += transformer.num_layers;
  return static_cast<int>(count);
}

/// How many blocks of the device's residency are not divided over ranks.
int block_count(const PlanInput& input, const Sharding& sharding) {
  const bool text = input.encodes_text && !input.text_encoder_host && !sharding.text_encoder;
  return transformer_blocks(input) + (text ? static_cast<int>(input.models.text_encoder.num_layers) : 0);
}

/// Blocks in memory while prompts and images are encoded, in the steps, and while frames are decoded.
struct HeldBlocks {
  std::int64_t encoding, denoising, decoding;
};

HeldBlocks held_blocks(const ResidencyBytes& blocks, bool keep, bool decodes_between) {
  const auto all = static_cast<std::int64_t>(blocks.all());
  if (keep) return {all, all, all};
  const auto transformers = static_cast<std::int64_t>(blocks.transformers);
  return {all, transformers, decodes_between ? transformers : 0};
}

/// A way to run: how many blocks have a place, whether frames may be cut into tiles, and what ranks divide.
struct Candidate {
  int places;
  bool tiles;
  Sharding sharding = {};
};

constexpr int kFewestPlaces = 2;

/// Transformers' blocks divided over ranks, whose whole ones come through two places: all of them, or as many as fit. The text
/// encoder, which a video needs for seconds, is streamed before any of them is.
std::vector<Candidate> sharded_candidates(const PlanInput& input) {
  Sharding sharding = input.sharding;
  std::int64_t most = 0;
  for (const WanConfig& transformer : input.models.transformers)
    most = std::max(most, transformer.num_layers);
  const auto limit = [&](std::int64_t blocks) {
    sharding.transformer_blocks =
        static_cast<int>(std::min<std::int64_t>(blocks, sharding.transformer_blocks));
  };
  limit(most);
  if (input.residency == "resident") return {{kFewestPlaces, /*tiles=*/true, sharding}};
  if (input.offload_model && !on_cpu(input.backend))
    limit((most - kFewestPlaces) * sharding.ranks /
          static_cast<std::int64_t>(input.models.transformers.size()));
  std::vector<Candidate> result;
  if (sharding.text_encoder && sharding.transformer_blocks > 0)
    result.push_back({kFewestPlaces, false, sharding});
  sharding.text_encoder = false;
  for (; sharding.transformer_blocks > 0; --sharding.transformer_blocks)
    result.push_back({kFewestPlaces, false, sharding});
  return result;
}

/// The best first. Blocks that have no place cost time in every step, a smaller VAE cache little, tiles a seam: so as many blocks
/// have one as fit beside a pass and whole frames.
std::vector<Candidate> candidates(const PlanInput& input) {
  WAN_CHECK(input.residency == "auto" || input.residency == "resident" || input.residency == "streamed",
            kInvalidArgument, "`residency` {}: expected resident, streamed or auto", input.residency);
  const bool divides = input.sharding.ranks > 1 && input.residency != "streamed";
  const bool divides_transformers = divides && input.sharding.transformer_blocks > 0;
  std::vector<Candidate> result;
  if (divides_transformers) {
    result = sharded_candidates(input);
    if (input.residency == "resident") return result;
  }
  const Sharding text = divides && input.sharding.text_encoder && !divides_transformers
                            ? Sharding{.ranks = input.sharding.ranks, .text_encoder = true}
                            : Sharding{};
  const int all = block_count(input, text);
  if (input.residency == "resident") return {{all, /*tiles=*/true, text}};
  if (input.residency == "auto" && !divides_transformers) {
    int most = all;
    if (input.offload_model && !on_cpu(input.backend))
      most = std::min(all - 1, static_cast<int>(input.models.transformers[0].num_layers));
    most = std::min(most, input.most_places);
    for (int places = most; places > kFewestPlaces; --places) result.push_back({places, false, text});
  }
  result.push_back({kFewestPlaces, false});
  result.push_back({kFewestPlaces, true});
  return result;
}

/// The bytes of candidates, by the rehearsal of what all of them run.
class Budget {
 public:
  Budget(const PlanInput& input, RunRehearsal& rehearsal, const MemoryPlan& plan)
      : input_(input), rehearsal_(rehearsal), available_(plan.available), program_(plan.program) {}

  /// The peak before frames are decoded, images apart.
  std::int64_t before_decoding(const HeldBlocks& held) const {
    const RunBytes& run = rehearsal_.bytes();
    return program_ + std::max({held.encoding + run.encoding_text, held.encoding + run.hearing,
                                held.denoising + run.denoising});
  }
  /// What is left for the VAE's scratch.
  std::int64_t for_encoding(const HeldBlocks& held) const {
    return available_ - program_ - rehearsal_.bytes().encoding_images - held.encoding;
  }
  std::int64_t for_decoding(const HeldBlocks& held) const {
    return available_ - program_ - rehearsal_.bytes().decoding - held.decoding;
  }
  bool fits(const HeldBlocks& held, bool tiles) const {
    if (before_decoding(held) > available_) return false;
    if (tiles) return for_decoding(held) > 0 && (!input_.encodes || for_encoding(held) > 0);
    const auto whole = [](VaePlans& plans, std::int64_t bytes) {
      return static_cast<std::int64_t>(plans.whole_frames_bytes()) <= bytes;
    };
    return whole(rehearsal_.decodes(), for_decoding(held)) &&
           (!input_.encodes || whole(rehearsal_.encodes(), for_encoding(held)));
  }

 private:
  const PlanInput& input_;
  RunRehearsal& rehearsal_;
  std::int64_t available_;
  std::int64_t program_;
};

/// As Candidate says, for the loading.
ResidencyOptions residency_of(const PlanInput& input, const Candidate& candidate) {
  ResidencyOptions options{.kind = ResidencyKind::kResident, .keep = input.keep_models};
  const bool all = candidate.places == block_count(input, candidate.sharding);
  if (all && candidate.sharding.transformer_blocks == 0 && input.residency != "streamed") return options;
  options.kind = ResidencyKind::kStreamed;
  options.places = candidate.places;
  return options;
}

/// What was settled on, for better or worse.
struct ChosenWay {
  bool fits = false;
  int places = 0;
  ResidencyBytes blocks;
  HeldBlocks held{};
};

/// Or the last one where none does. Leaves its residency in `load`.
ChosenWay first_that_fits(const PlanInput& input, const Budget& budget, const std::vector<Candidate>& ways,
                          LoadOptions& load) {
  ChosenWay chosen;
  for (const Candidate& way : ways) {
    load.residency = residency_of(input, way);
    load.sharding = way.sharding;
    chosen.places = way.places;
    chosen.blocks = planned_residency_bytes(input.models, load);
    chosen.held = held_blocks(chosen.blocks, input.keep_models, input.segments > 1);
    chosen.fits = budget.fits(chosen.held, way.tiles);
    if (chosen.fits) break;
  }
  return chosen;
}

RehearsedRun run_of(const PlanInput& input, const LoadOptions& load) {
  const std::optional<TextEncoderHost>& host = input.text_encoder_host;
  const std::int64_t text_len = input.models.transformers[0].text_len;
  return {.models = input.models,
          .backend = input.backend,
          .text_backend = host ? host->backend : nullptr,
          .text_apart = host.has_value() || !input.encodes_text,
          .weights = input.weights,
          .text_weights = load.text_weights(),
          .latent = input.latent,
          .encodes = input.encodes,
          .segments = input.segments,
          .decoded_latents = input.decoded_latents > 0 ? input.decoded_latents : input.latent[1],
          .speech_samples = input.speech_samples,
          .text_tokens =
              input.text_tokens.empty() ? std::vector<std::int64_t>{text_len, text_len} : input.text_tokens,
          .sampler_slots = input.sampler_slots,
          .feed_forward_pieces = load.feed_forward_pieces,
          .layout = input.layout,
          .packs = input.device_groups};
}

[[noreturn]] void fail_for_passes(const PlanInput& input, const MemoryPlan& plan, std::int64_t needed) {
  const PatchSize& patch = input.models.transformers[0].patch;
  const Shape& latent = input.latent;
  fail(ErrorCode::kOutOfMemory,
       "encoding a prompt and a transformer pass over {} tokens need {:.2f} GB, weights and program "
       "included; {:.2f} GB are free; choose a smaller `size` or `frame_num`{}",
       latent[1] / patch[0] * (latent[2] / patch[1]) * (latent[3] / patch[2]),
       static_cast<double>(needed) * kGb, static_cast<double>(plan.available) * kGb,
       input.residency == "resident" ? ", or `residency` streamed" : "");
}

/// Of the host's memory while blocks are loaded: what LoRAs are merged from, converted, on each thread. Streamed blocks come on few threads, and
/// count as those that stay.
std::int64_t lora_staging_bytes(const PlanInput& input) {
  return static_cast<std::int64_t>(input.models.lora_staging) *
         std::max(1u, std::thread::hardware_concurrency());
}

}  // namespace

PlannedRun plan_run(const PlanInput& input) {
  // NCCL's buffers, of its channels to each peer, are expected to take as much; it allocates them by itself.
  constexpr std::int64_t kDeviceGroupBytes = std::int64_t{1} << 29;

  PlannedRun run{};
  run.load = {.weights = input.weights,
              .residency = {},
              .feed_forward_pieces = 1,
              .encodes_text = input.encodes_text,
              .text_encoder_host = {}};
  if (input.text_encoder_host) {
    LoadOptions::Blocks& text =
        run.load.text_encoder_host.emplace(LoadOptions::Blocks{input.text_encoder_host->weights, {}});
    text.residency = text_residency(input, text_host_blocks(input, run.load));
  }
  const std::vector<Candidate> ways = candidates(input);
  MemoryPlan& plan = run.plan;
  plan.ranks = input.layout.ranks();
  plan.ulysses_size = input.layout.sequence;
  plan.guidance_parallel = input.layout.groups > 1;
  plan.program = on_cpu(input.backend) ? program_bytes() : input.backend.reserved_bytes();
  if (input.device_groups) plan.program += kDeviceGroupBytes;
  plan.lora_staging = lora_staging_bytes(input);
  if (on_cpu(input.backend)) plan.program += plan.lora_staging;
  plan.available = input.memory_limit > 0 ? input.memory_limit : available_bytes(input.backend);
  if (on_cpu(input.backend)) plan.available /= input.sharers > 0 ? input.sharers : input.layout.ranks();

  // In pieces the feed-forward takes less, and may add in another order: where nothing else fits.
  constexpr int kPieces = 4;
  std::unique_ptr<RunRehearsal> rehearsal;
  std::optional<ChosenWay> chosen;
  for (const int pieces : {1, kPieces}) {
    run.load.feed_forward_pieces = pieces;
    rehearsal = std::make_unique<RunRehearsal>(run_of(input, run.load));
    chosen = first_that_fits(input, Budget(input, *rehearsal, plan), ways, run.load);
    if (chosen->fits) break;
  }
  const RunBytes& bytes = rehearsal->bytes();
  const Budget budget(input, *rehearsal, plan);
  const ResidencyBytes& blocks = chosen->blocks;
  const HeldBlocks& held = chosen->held;
  if (input.text_encoder_host) plan.text_encoder_host = checked_text_host(input, run.load, bytes);
  plan.block_places = chosen->places;
  plan.feed_forward_pieces = run.load.feed_forward_pieces;
  plan.blocks_resident = run.load.residency.kind == ResidencyKind::kResident;
  plan.transformer_blocks = transformer_blocks(input);
  plan.shards = run.load.sharding.ranks;
  plan.text_encoder_sharded = run.load.sharding.text_encoder;
  for (const WanConfig& transformer : input.models.transformers)
    plan.sharded_blocks += static_cast<int>(
        std::min<std::int64_t>(transformer.num_layers, run.load.sharding.transformer_blocks));
  const std::int64_t before_decoding = budget.before_decoding(held);
  if (before_decoding > plan.available) fail_for_passes(input, plan, before_decoding);

  const auto scratch = [](std::int64_t left) {
    return static_cast<std::size_t>(std::max<std::int64_t>(left, 1));
  };
  run.decode = rehearsal->decodes().within(scratch(budget.for_decoding(held)));
  if (input.encodes) run.encode = rehearsal->encodes().within(scratch(budget.for_encoding(held)));
  const auto decode_bytes = static_cast<std::int64_t>(run.decode.bytes);
  const auto encode_bytes = static_cast<std::int64_t>(run.encode.bytes);
  plan.transformers = static_cast<std::int64_t>(blocks.transformers) + bytes.transformers;
  plan.loras = static_cast<std::int64_t>(planned_addition_bytes(input.models, run.load));
  plan.text_encoder = static_cast<std::int64_t>(blocks.text_encoder) + bytes.text_encoder;
  plan.context_cache = bytes.context_cache;
  plan.activations = bytes.activations;
  plan.latents = bytes.latents + bytes.clip;
  plan.vae = bytes.vae + std::max(decode_bytes, encode_bytes);
  plan.audio_encoder = bytes.audio_encoder;
  if (is_tiled(run.decode, {input.latent[1], input.latent[2], input.latent[3]}))
    plan.vae_tile = static_cast<int>(std::max(run.decode.tile_height, run.decode.tile_width)) *
                    geometry_of(input.models.vae).spatial_stride;
  plan.peak = std::max(before_decoding, plan.program + held.decoding + bytes.decoding + decode_bytes);
  if (input.encodes)
    plan.peak = std::max(plan.peak, plan.program + held.encoding + bytes.encoding_images + encode_bytes);
  return run;
}

void share_vae_plans(std::span<PlannedRun> ranks) {
  for (VaePlan PlannedRun::*const plan : {&PlannedRun::decode, &PlannedRun::encode}) {
    const auto least = std::min_element(
        ranks.begin(), ranks.end(),
        [&](const PlannedRun& a, const PlannedRun& b) { return (a.*plan).bytes < (b.*plan).bytes; });
    const VaePlan shared = (*least).*plan;
    for (PlannedRun& rank : ranks) rank.*plan = shared;
  }
}

namespace {

/// What JSON says of several ranks beside the rest; nothing of one.
std::string ranks_json(const MemoryPlan& plan) {
  std::string text;
  if (!plan.layout_reason.empty()) text = fmt::format(R"(,"layout_reason":"{}")", plan.layout_reason);
  if (plan.link_share > 0) text += fmt::format(R"(,"link_share":{:.4f})", plan.link_share);
  if (!plan.transport.empty()) text += fmt::format(R"(,"transport":"{}")", plan.transport);
  if (plan.rank_memory.empty()) return text;
  std::string each;
  for (const MemoryPlan::RankMemory& rank : plan.rank_memory)
    each += fmt::format(R"({}{{"device":"{}","peak":{},"available":{}}})", each.empty() ? "" : ",",
                        rank.device, rank.peak, rank.available);
  return text + R"(,"rank_memory":[)" + each + "]";
}

}  // namespace

std::string to_json(const MemoryPlan& plan) {
  return fmt::format(
      R"({{"event":"plan","ranks":{},"ulysses_size":{},"guidance_parallel":{},"program":{},)"
      R"("text_encoder":{},"text_encoder_host":{},"audio_encoder":{},"transformers":{},"loras":{},"lora_staging":{},)"
      R"("context_cache":{},"activations":{},"vae":{},"latents":{},"peak":{},"available":{},)"
      R"("blocks_resident":{},"block_places":{},"shards":{},"sharded_blocks":{},)"
      R"("feed_forward_pieces":{},"vae_tile":{}{}}})",
      plan.ranks, plan.ulysses_size, plan.guidance_parallel, plan.program, plan.text_encoder,
      plan.text_encoder_host, plan.audio_encoder, plan.transformers, plan.loras, plan.lora_staging,
      plan.context_cache, plan.activations, plan.vae, plan.latents, plan.peak, plan.available,
      plan.blocks_resident, plan.block_places, plan.shards, plan.sharded_blocks, plan.feed_forward_pieces,
      plan.vae_tile, ranks_json(plan));
}

namespace {

/// "guidance's two passes at the same time, 2 divide the tokens of a pass: every step has two passes"
std::string layout_text(const MemoryPlan& plan) {
  std::string text = plan.guidance_parallel ? "guidance's two passes at the same time" : "";
  if (plan.ulysses_size > 1)
    text += fmt::format("{}{} divide the tokens of a pass", text.empty() ? "" : ", ", plan.ulysses_size);
  return plan.layout_reason.empty() ? text : text + ": " + plan.layout_reason;
}

/// How ranks exchange, a line.
std::string transport_text(const MemoryPlan& plan) {
  const auto line = [&](const char* way) {
    const std::string share =
        plan.link_share > 0 ? fmt::format(", up to {:.1f}% of a step", 100 * plan.link_share) : "";
    return fmt::format("exchanges      {}{}\n", way, share);
  };
  if (plan.transport == "peer") return line("GPUs read each other's memory");
  if (plan.transport == "host") return line("through the host's memory");
  if (plan.transport == "nccl") return line("between the processes' GPUs, by NCCL");
  if (plan.transport == "mpi") return line("between processes, through the hosts' memory, by MPI");
  return "";
}

/// A line for each rank, where one takes or has another amount than the first.
std::string rank_memory_text(const MemoryPlan& plan) {
  constexpr double kSame = 0.1;  // GB, in which free memory wavers
  const auto gb = [](std::int64_t bytes) { return static_cast<double>(bytes) * kGb; };
  bool differ = false;
  std::string text;
  for (std::size_t rank = 0; rank < plan.rank_memory.size(); ++rank) {
    const MemoryPlan::RankMemory& own = plan.rank_memory[rank];
    differ = differ || std::abs(gb(own.peak - plan.peak)) >= kSame ||
             std::abs(gb(own.available - plan.available)) >= kSame;
    text += fmt::format("  rank {:<7} {:8.3f} GB of {:.3f} GB, {}\n", rank, gb(own.peak), gb(own.available),
                        own.device);
  }
  return differ ? text : "";
}

/// How the transformers' blocks are held.
std::string blocks_text(const MemoryPlan& plan) {
  if (plan.blocks_resident) return "all blocks resident";
  const std::string places = fmt::format("through {} places", plan.block_places);
  if (plan.sharded_blocks == 0) return "blocks streamed " + places;
  if (plan.sharded_blocks == plan.transformer_blocks)
    return fmt::format("sharded over {} ranks, {}", plan.shards, places);
  return fmt::format("{} of {} blocks sharded over {} ranks, the others streamed, {}", plan.sharded_blocks,
                     plan.transformer_blocks, plan.shards, places);
}

/// Where the text encoder is, if it is not simply in memory.
std::string text_encoder_place(const MemoryPlan& plan) {
  if (plan.text_encoder_host > 0)
    return fmt::format("on the CPU: {:.3f} GB of the host's memory",
                       static_cast<double>(plan.text_encoder_host) * kGb);
  if (plan.text_encoder_sharded) return fmt::format("sharded over {} ranks", plan.shards);
  return plan.blocks_resident ? "" : "in the transformers' places";
}

/// What LoRAs take that are not merged, and merging the others.
std::string lora_text(const MemoryPlan& plan) {
  const auto gb = [](std::int64_t bytes) { return static_cast<double>(bytes) * kGb; };
  if (plan.loras == 0 && plan.lora_staging == 0) return "";
  return fmt::format(
      "  of LoRAs     {:8.3f} GB; loading blocks takes {:.3f} GB of the host's memory for them\n",
      gb(plan.loras), gb(plan.lora_staging));
}

std::string text_encoder_text(const MemoryPlan& plan) {
  std::string text = text_encoder_place(plan);
  if (plan.ranks > 1) text += fmt::format("{}rank 0 encodes for all", text.empty() ? "" : "; ");
  return text.empty() ? "" : "  (" + text + ")";
}

}  // namespace

std::string to_string(const MemoryPlan& plan) {
  const auto gb = [](std::int64_t bytes) { return static_cast<double>(bytes) * kGb; };
  const std::string ranks = plan.ranks == 1
                                ? ""
                                : fmt::format("ranks          {:8}     ({}); of each:\n{}", plan.ranks,
                                              layout_text(plan), transport_text(plan));
  return ranks +
         fmt::format(
             "program        {:8.3f} GB\n"
             "text encoder   {:8.3f} GB{}\n"
             "{}"
             "transformers   {:8.3f} GB  ({})\n"
             "{}"
             "context cache  {:8.3f} GB\n"
             "activations    {:8.3f} GB{}\n"
             "VAE            {:8.3f} GB  ({})\n"
             "latents        {:8.3f} GB\n"
             "peak           {:8.3f} GB of {:.3f} GB; not all of it is held at a time\n"
             "{}"
             "not counted: the tokenizer, the video's encoder, and pages of the mapped files, which are page "
             "cache\n",
             gb(plan.program), gb(plan.text_encoder), text_encoder_text(plan),
             plan.audio_encoder > 0 ? fmt::format("audio encoder  {:8.3f} GB\n", gb(plan.audio_encoder)) : "",
             gb(plan.transformers), blocks_text(plan), lora_text(plan), gb(plan.context_cache),
             gb(plan.activations),
             plan.feed_forward_pieces > 1
                 ? fmt::format("  (the feed-forward in {} pieces)", plan.feed_forward_pieces)
                 : "",
             gb(plan.vae),
             plan.vae_tile > 0 ? fmt::format("tiles of {} pixels", plan.vae_tile) : "whole frames",
             gb(plan.latents), gb(plan.peak), gb(plan.available), rank_memory_text(plan));
}

}  // namespace wan
