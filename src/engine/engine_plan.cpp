// What lives where while a video is made: every rank's plan, in the layout that has room.

#include <algorithm>

#include "base/memory_info.h"
#include "engine/engine_impl.h"
#include "engine/layout_choice.h"
#include "tasks/task.h"

namespace wan {

void Engine::Impl::check_ranks(int count) const {
  static_cast<void>(
      possible_layouts(options, count, models.config().num_heads, /*guided_steps=*/1, /*steps=*/1));
}

Engine::Impl::Holding Engine::Impl::wanted_holding() const {
  const auto count = static_cast<int>(ranks.size());
  if (!divides_weights()) return {options.keep_models, {}};
  return {options.keep_models,
          {.ranks = count,
           .transformer_blocks = options.dit_fsdp ? kAllBlocks : 0,
           .text_encoder = options.t5_fsdp && !text_encoder_host && encodes_text(first())}};
}

JointPlan Engine::Impl::plan(const ResolvedRequest& request) const {
  const GenerationSettings& settings = request.settings;
  const Scheduler scheduler = scheduler_of(settings);
  const auto guided = static_cast<int>(guided_steps(settings, scheduler));
  const auto steps = static_cast<int>(scheduler.timesteps().size());
  const std::optional<RankRates> known =
      depends_on_times(options, all_ranks(), guided, steps) ? rates() : std::nullopt;
  const PassDemand work =
      pass_demand(models.config(), request.latent, compute_dtype(first().backend(), weights));
  const auto times = [&](const RankLayout& layout) {
    return known ? step_times(work, *known, layout, guided, steps) : StepTimes();
  };
  std::function<double(const RankLayout&)> seconds;
  if (known) seconds = [&](const RankLayout& layout) { return times(layout).all(); };
  std::vector<RankLayout> layouts =
      possible_layouts(options, all_ranks(), models.config().num_heads, guided, steps, seconds);
  if (link != nullptr)
    for (RankLayout& layout : layouts) layout = on_machines(layout, link->machine_of_ranks());
  const auto planned = [&](const RankLayout& layout) {
    return JointPlan{.layout = layout,
                     .reason = layout_reason(options, layout, guided, steps),
                     .link_share = times(layout).link_share(),
                     .ranks = plan_ranks(request, layout)};
  };
  return plan_in_first(layouts, planned,
                       [](const JointPlan& joint) { return std::ranges::all_of(joint.ranks, is_whole); });
}

std::vector<PlannedRun> Engine::Impl::plan_ranks(const ResolvedRequest& request,
                                                 const RankLayout& layout) const {
  Holding most = wanted_holding();
  std::vector<PlannedRun> plans;
  for (const auto& rank : ranks) plans.push_back(plan(*rank, request, layout, most));
  for (const PlannedRun& plan : plans) {
    const Sharding& fits = plan.load.sharding;
    most.keep = most.keep && plan.load.residency.keep;
    most.sharding.transformer_blocks = std::min(most.sharding.transformer_blocks, fits.transformer_blocks);
    most.sharding.text_encoder = most.sharding.text_encoder && fits.text_encoder;
  }
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    const LoadOptions& load = plans[i].load;
    if (load.sharding.ranks > 1 && (load.residency.keep != most.keep || load.sharding != most.sharding))
      plans[i] = plan(*ranks[i], request, layout, most);
  }
  share_vae_plans(plans);
  return plans;
}

PlannedRun Engine::Impl::plan(const Rank& rank, const ResolvedRequest& request, const RankLayout& layout,
                              const Holding& most) const {
  std::optional<PlannedRun> kept;
  if (most.keep) {
    try {
      kept = plan(rank, request, layout, most.sharding, /*keep=*/true);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kOutOfMemory) throw;
    }
    if (kept && is_whole(*kept)) return std::move(*kept);
  }
  PlannedRun alone = plan(rank, request, layout, most.sharding, /*keep=*/false);
  const bool same = kept && kept->plan.vae_tile == alone.plan.vae_tile &&
                    kept->plan.feed_forward_pieces == alone.plan.feed_forward_pieces;
  return same ? std::move(*kept) : std::move(alone);
}

PlannedRun Engine::Impl::plan(const Rank& rank, const ResolvedRequest& request, const RankLayout& layout,
                              Sharding sharding, bool keep) const {
  const GenerationSettings& settings = request.settings;
  if (keep) {
    sharding.transformer_blocks = std::min(sharding.transformer_blocks, most_divided.load());
    sharding.text_encoder = sharding.text_encoder && divides_text.load();
  }
  const Scheduler scheduler = scheduler_of(settings);
  return plan_run(
      {.models = models,
       .backend = rank.backend(),
       .latent = request.latent,
       .weights = weights,
       .encodes = encoded_clip(request),
       .residency = options.residency,
       .memory_limit = options.memory_limit,
       .keep_models = keep,
       .offload_model = options.offload_model,
       .most_places = keep ? most_places.load() : kAllBlocks,
       .sharding = sharding,
       .encodes_text = encodes_text(rank),
       .text_encoder_host = encodes_text(rank) ? text_encoder_host : std::nullopt,
       .layout = layout,
       .device_groups = link != nullptr && link->has_device_groups(),
       .sharers = machine_ranks(),
       .text_tokens = text_tokens(settings, scheduler, keep),
       .segments = settings.segments(),
       .decoded_latents = models.task().decoded_latents(request.latent[1]),
       .speech_samples = encodes_text(rank) ? static_cast<std::int64_t>(request.inputs.speech.size()) : 0,
       .sampler_slots = scheduler.slots()});
}

std::optional<RankRates> Engine::Impl::rates() const {
  if (link != nullptr || first().backend().total_bytes() == 0) return std::nullopt;
  const std::lock_guard lock(rates_mutex);
  if (!measured_rates) {
    std::vector<Backend*> backends;
    for (const auto& rank : ranks) backends.push_back(&rank->backend());
    measured_rates = measure_rates(backends, weights, options);
  }
  return measured_rates;
}

std::int64_t Engine::Impl::guided_steps(const GenerationSettings& settings,
                                        const Scheduler& scheduler) const {
  const Guidance guidance(settings.guide_scale, settings.boundary);
  return std::ranges::count_if(scheduler.timesteps(),
                               [&](double timestep) { return guidance.needs_unconditional(timestep); });
}

std::vector<std::int64_t> Engine::Impl::text_tokens(const GenerationSettings& settings,
                                                    const Scheduler& scheduler, bool keep) const {
  if (keep) return {};
  const auto used = [&](const std::string& text) -> std::int64_t {
    return models.tokenizer().tokenize(text, static_cast<int>(models.config().text_len)).used;
  };
  std::vector<std::int64_t> tokens{used(settings.prompt)};
  if (guided_steps(settings, scheduler) > 0) tokens.push_back(used(settings.negative_prompt));
  return tokens;
}

void Engine::Impl::hold_to(const PlannedRun& run) {
  if (!run.load.residency.keep) return;
  const auto lower = [](std::atomic<int>& most, int fits) {
    int before = most.load();
    while (fits < before && !most.compare_exchange_weak(before, fits)) {
    }
  };
  const Sharding& sharding = run.load.sharding;
  // Places that divided blocks come through are always as many; and where all blocks have one, ranks without text have fewer.
  if (sharding.transformer_blocks == 0 && (!run.plan.blocks_resident || run.load.text_through_places))
    lower(most_places, run.plan.block_places);
  lower(most_divided, sharding.transformer_blocks);
  if (!sharding.text_encoder) divides_text = false;
}

std::optional<LatentExtent> Engine::Impl::encoded_clip(const ResolvedRequest& request) const {
  const InputImages& images = request.inputs.images;
  if (!images.first && !images.last && !models.task().facts().takes_sound &&
      !models.task().facts().takes_source)
    return std::nullopt;
  const Shape condition = models.task().condition_shape(models.vae->geometry(), request.latent);
  return LatentExtent{condition[1], request.latent[2], request.latent[3]};
}

std::optional<TextEncoderHost> Engine::Impl::describe_text_encoder_host() const {
  Backend* const own = first().own_text_backend();
  if (own == nullptr) return std::nullopt;
  const bool usual = options.precision.empty();
  return TextEncoderHost{.weights = usual ? parse_precision("`precision`", default_precision(*own)) : weights,
                         .available = available_memory_bytes(),
                         .backend = own};
}

}  // namespace wan
