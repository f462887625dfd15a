#include "wan/engine.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <optional>

#include "base/memory_info.h"
#include "engine/engine_impl.h"

namespace wan {

DType parse_precision(const char* member, const std::string& precision) {
  if (precision == "fp32") return DType::kF32;
  if (precision == "bf16") return DType::kBF16;
  fail(ErrorCode::kInvalidArgument, "{} {}: expected fp32 or bf16", member, precision);
}

/// bf16 is what the models were trained in and what GPUs multiply fastest; CPUs gain little by it.
std::string default_precision(const Backend& backend) {
  return backend.device().kind == DeviceKind::kCpu ? "fp32" : "bf16";
}

/// For settings: whose folder a LoRA lies in says nothing of the video.
std::string names_of(const std::vector<LoraFile>& loras) {
  std::string text;
  for (LoraFile lora : loras) {
    lora.file = lora.file.filename();
    text += (text.empty() ? "" : ", ") + format_lora(lora);
  }
  return text;
}

Engine::Impl::Impl(const EngineOptions& engine_options, std::vector<std::unique_ptr<Rank>> made)
    : options(engine_options),
      ranks(std::move(made)),
      precision(options.precision.empty() ? default_precision(first().backend()) : options.precision),
      weights(parse_precision("`precision`", precision)),
      text_encoder_host(describe_text_encoder_host()),
      vae_precision({.compute = parse_precision("`vae_precision`", options.vae_precision)}),
      models(with_field("ckpt_dir", [&] {
        return CheckpointModels(options.ckpt_dir, vae_precision, options.parts, options.lora,
                                options.lora_allow_unmatched, options.use_relighting_lora);
      })) {
  const double timeout = options.rank_timeout.count();
  WAN_CHECK(timeout >= 0.1 && timeout <= 1e6, kInvalidArgument,
            "`rank_timeout` {}: expected seconds, 0.1 to 1000000", timeout);
  std::vector<ComputeDevice*> devices;
  for (const auto& rank : ranks) devices.push_back(&rank->backend());
  shares_memory = share_memory(devices, parse_p2p(options.p2p));
  check_ranks(static_cast<int>(ranks.size()));
}

RankReaders Engine::Impl::rank_readers() const {
  const auto of_each = [this](const auto& read) {
    return [this, read] {
      std::vector<decltype(read(first()))> result;
      for (const auto& rank : ranks) result.push_back(read(*rank));
      return result;
    };
  };
  RankReaders readers;
  if (first().backend().total_bytes() > 0)
    readers.devices = of_each([](const Rank& rank) { return rank.device_use(); });
  if (all_ranks() > 1) readers.waited = of_each([](const Rank& rank) { return rank.waited_seconds(); });
  return readers;
}

ResolvedRequest Engine::Impl::resolve(const GenerationRequest& request) const {
  return resolve_request(request, models,
                         {.precision = precision,
                          .vae_precision = options.vae_precision,
                          .device = first().backend().device(),
                          .grid = first().grid(),
                          .lora = names_of(options.lora)});
}

void Engine::Impl::run_ranks(const std::vector<PlannedRun>& plans, const RankRun& run,
                             const std::function<void(RankRun&)>& first) {
  const auto work = [&](int rank) {
    RankRun own = run;
    if (rank == 0) first(own);
    ranks[static_cast<std::size_t>(rank)]->run(own, plans[static_cast<std::size_t>(rank)]);
  };
  on_every_rank(ranks, work, patience());
}

GenerationResult Engine::Impl::generate(const GenerationRequest& request, const EventHandler& caller,
                                        const std::atomic<bool>* cancelled) {
  const auto start = std::chrono::steady_clock::now();
  std::int64_t flops = 0;
  const RankReaders read = rank_readers();
  RunMonitor monitor(caller, flops, read);
  const EventHandler on_event = caller ? EventHandler(std::ref(monitor)) : EventHandler();
  const ResolvedRequest resolved = resolve(request);
  const GenerationSettings& settings = resolved.settings;
  const SavedLatents* resumed = resolved.resumed ? &*resolved.resumed : nullptr;
  JointPlan joint = plan(resolved);
  const RankLayout& layout = joint.layout;
  std::vector<PlannedRun>& plans = joint.ranks;
  for (const PlannedRun& plan : plans) hold_to(plan);
  models.tokenizer();  // a damaged one is told before weights are loaded
  if (link != nullptr) {
    link->command(ProcessLink::Command::kGenerate, [&](LetterWriter& letter) {
      put_request(letter, settings, resolved.latent, layout, resolved.inputs.images, resolved.resumed,
                  request.check);
    });
    agree_on_vae_plans([] {}, plans);
  }
  connect(layout);
  together_connected([&] {
    run_before_first_step(resumed, [&] {
      if (!on_event) return;
      on_event(RunSettings{to_metadata(settings)});
      for (const std::string& notice : resolved.notices) on_event(Notice{notice});
      if (const auto notice = transport_notice()) on_event(*notice);
      if (!divides_weights() && all_ranks() > 1 && (options.dit_fsdp || options.t5_fsdp))
        on_event(Notice{
            "`dit_fsdp` and `t5_fsdp`: weights are not divided, as each process has one rank (start one a "
            "machine, with all of its GPUs), or GPUs cannot read each other's memory, or shall not (`p2p`); "
            "blocks that do not fit are streamed"});
    });
    run_before_first_step(resumed,
                          [&] { load_ranks(ranks, models, plans, on_event, cancelled, patience()); });
  });
  together_connected([&] {
    std::optional<DumpWriter> dump;
    if (!request.dump_dir.empty()) dump.emplace(request.dump_dir, settings.steps);
    std::optional<ProcessLink::StopsWith> stops;
    if (link != nullptr) stops.emplace(*link, cancelled);
    const RankRun every{.models = models,
                        .settings = settings,
                        .inputs = resolved.inputs,
                        .latent = resolved.latent,
                        .output = {resolved.save_file, resolved.latents},
                        .resumed = resumed,
                        .keep = {.every = request.keep_every},
                        .check = request.check};
    run_ranks(plans, every, [&](RankRun& run) {
      run.on_event = on_event;
      run.dump = dump ? &*dump : nullptr;
      run.dump_taps = request.dump_taps;
      run.flops = &flops;
      run.cancelled = cancelled;
      run.stops_in_a_step = link != nullptr;
    });
  });

  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  try {
    if (on_event)
      on_event(Finished{.save_file = resolved.save_file.string(),
                        .frames = settings.frame_num,
                        .seconds = seconds,
                        .peak_host_bytes = peak_resident_bytes(),
                        .peak_device_bytes = read.devices ? first().backend().memory_use().peak : 0});
  } catch (...) {
    const Error error = current_failure();
    fail(error.code(), "{} is whole, but the event that says so could not be told: {}",
         resolved.save_file.string(), error.what());
  }
  return {.save_file = resolved.save_file,
          .latents_file = resolved.latents.requested ? resolved.latents.path : std::filesystem::path(),
          .source = settings.animation ? std::filesystem::path(settings.animation->source)
                                       : std::filesystem::path(),
          .seed = settings.seed,
          .frames = settings.frame_num,
          .seconds = seconds};
}

std::vector<std::unique_ptr<Rank>> make_ranks(const EngineOptions& options,
                                              std::vector<ChosenBackend> backends) {
  std::vector<std::unique_ptr<Rank>> ranks;
  for (std::size_t i = 0; i < backends.size(); ++i) {
    std::unique_ptr<Backend> text = i == 0 ? make_text_backend(options, *backends[i].backend) : nullptr;
    ranks.push_back(std::make_unique<Rank>(std::move(backends[i]), std::move(text)));
  }
  return ranks;
}

std::unique_ptr<Engine::Impl> Engine::make_impl(const EngineOptions& options) {
  std::unique_ptr<ProcessLink> link = begin_share(options);
  if (link != nullptr) return make_impl(options, std::move(link));
  return std::make_unique<Impl>(options, make_ranks(options, make_backends(options)));
}

Engine::Engine(const EngineOptions& options) : Engine(make_impl(options)) {}
Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;
Engine::Engine(Engine&&) noexcept = default;
Engine& Engine::operator=(Engine&&) noexcept = default;

Engine make_engine(const EngineOptions& options, std::unique_ptr<Backend> backend) {
  std::vector<std::unique_ptr<Backend>> backends;
  backends.push_back(std::move(backend));
  return make_engine(options, std::move(backends));
}

Engine make_engine(const EngineOptions& options, std::vector<std::unique_ptr<Backend>> backends) {
  std::vector<ChosenBackend> chosen;
  for (auto& backend : backends) chosen.push_back({.backend = std::move(backend)});
  return Engine(std::make_unique<Engine::Impl>(options, make_ranks(options, std::move(chosen))));
}

void Engine::check(const GenerationRequest& request) const {
  static_cast<void>(impl_->plan(impl_->resolve(request)));
  impl_->models.tokenizer();
}

MemoryPlan Engine::plan(const GenerationRequest& request) const {
  const JointPlan joint = impl_->plan(impl_->resolve(request));
  MemoryPlan plan = joint.ranks.front().plan;
  plan.layout_reason = joint.reason;
  plan.transport = impl_->transport();
  plan.link_share = joint.link_share;
  if (joint.ranks.size() == 1) return plan;
  for (std::size_t i = 0; i < joint.ranks.size(); ++i) {
    const MemoryPlan& own = joint.ranks[i].plan;
    plan.rank_memory.push_back({.device = to_string(impl_->ranks[i]->backend().device()),
                                .peak = own.peak,
                                .available = own.available});
  }
  return plan;
}

int Engine::face_size() const {
  const std::optional<AnimateConfig>& animate = impl_->models.config().animate;
  return animate ? static_cast<int>(animate->face_size()) : 0;
}

void Engine::expect(const GenerationRequest& request) {
  for (const PlannedRun& plan : impl_->plan(impl_->resolve(request)).ranks) impl_->hold_to(plan);
  impl_->models.tokenizer();
}

GenerationResult Engine::generate(const GenerationRequest& request, const EventHandler& on_event,
                                  const std::atomic<bool>* cancelled) {
  return impl_->generate(request, on_event, cancelled);
}

}  // namespace wan
