#include "wan/engine.h"

#include <algorithm>
#include <chrono>
#include <functional>

#include "base/memory_info.h"
#include "engine/backend_factory.h"
#include "engine/engine_internals.h"
#include "engine/memory_plan.h"
#include "engine/run_monitor.h"
#include "engine/settings_resolver.h"
#include "pipeline/image_to_video.h"
#include "pipeline/phase_reporter.h"
#include "pipeline/text_image_to_video.h"
#include "pipeline/text_to_video.h"

namespace wan {

DType parse_precision(const char* option, const std::string& precision) {
  if (precision == "fp32") return DType::kF32;
  if (precision == "bf16") return DType::kBF16;
  fail(ErrorCode::kInvalidArgument, "{} {}: expected fp32 or bf16", option, precision);
}

namespace {

/// bf16 is what the models were trained in and what GPUs multiply fastest; CPUs gain little by it.
std::string default_precision(const Backend& backend) {
  return backend.device().kind == DeviceKind::kCpu ? "fp32" : "bf16";
}

}  // namespace

struct Engine::Impl {
  Impl(const EngineOptions& engine_options, ChosenBackend chosen)
      : options(engine_options),
        backend(std::move(chosen.backend)),
        grid(chosen.grid),
        utilization(std::move(chosen.utilization)),
        text_backend(make_text_backend(options, *backend)),
        precision(options.precision.empty() ? default_precision(*backend) : options.precision),
        weights(parse_precision("--precision", precision)),
        text_encoder_host(describe_text_encoder_host()),
        vae_precision({.compute = parse_precision("--vae_precision", options.vae_precision)}),
        models(options.ckpt_dir, vae_precision) {}

  PlannedRun plan(const ResolvedRequest& request) {
    const GenerationSettings& settings = request.settings;
    const Scheduler scheduler = make_scheduler(settings.solver, settings.steps, settings.shift);
    return plan_run({.models = models,
                     .backend = *backend,
                     .latent = request.latent,
                     .weights = weights,
                     .encodes = encoded_clip(request),
                     .residency = options.residency,
                     .memory_limit = options.memory_limit,
                     .keep_models = options.keep_models,
                     .offload_model = options.offload_model,
                     .text_encoder_host = text_encoder_host,
                     .text_tokens = text_tokens(settings, scheduler),
                     .sampler_slots = scheduler.slots()});
  }

  /// Of each guidance branch. Where models stay for further requests, none that are longer may move their blocks: then no
  /// numbers, for as many tokens as the models take.
  std::vector<std::int64_t> text_tokens(const GenerationSettings& settings,
                                        const Scheduler& scheduler) const {
    if (options.keep_models) return {};
    const auto used = [&](const std::string& text) -> std::int64_t {
      return models.tokenizer().tokenize(text, static_cast<int>(models.config().text_len)).used;
    };
    std::vector<std::int64_t> tokens{used(settings.prompt)};
    const Guidance guidance(settings.guide_scale, settings.boundary);
    const auto timesteps = scheduler.timesteps();
    if (std::any_of(timesteps.begin(), timesteps.end(),
                    [&](std::int64_t timestep) { return guidance.needs_unconditional(timestep); }))
      tokens.push_back(used(settings.negative_prompt));
    return tokens;
  }

  /// The clip that the request's images become: one latent frame where only the first is given.
  std::optional<LatentExtent> encoded_clip(const ResolvedRequest& request) const {
    if (!request.images.first && !request.images.last) return std::nullopt;
    const bool whole = models.task->image == ImageUse::kRequired;
    return LatentExtent{whole ? request.latent[1] : 1, request.latent[2], request.latent[3]};
  }

  DeviceUse device_use() const {
    const Backend::MemoryUse use = backend->memory_use();
    return {.used = use.now,
            .peak = use.peak,
            .total = backend->total_bytes(),
            .utilization = utilization ? utilization() : std::nullopt};
  }

  Backend& text_encoder_backend() { return text_backend ? *text_backend : *backend; }

  /// Once, so that every plan of this engine holds the text encoder alike.
  std::optional<TextEncoderHost> describe_text_encoder_host() const {
    if (!text_backend) return std::nullopt;
    const bool usual = options.precision.empty();
    return TextEncoderHost{
        .weights = usual ? parse_precision("--precision", default_precision(*text_backend)) : weights,
        .available = available_memory_bytes(),
        .backend = text_backend.get()};
  }

  void load(const LoadOptions& load_options, const EventHandler& on_event,
            const std::atomic<bool>* cancelled);
  GenerationResult generate(const GenerationRequest& request, const EventHandler& on_event,
                            const std::atomic<bool>* cancelled);

  ResolvedRequest resolve(const GenerationRequest& request) const {
    return resolve_request(request, models,
                           {.precision = precision,
                            .vae_precision = options.vae_precision,
                            .device = backend->device(),
                            .grid = grid});
  }

  EngineOptions options;
  std::unique_ptr<Backend> backend;
  CudaLaunchGrid grid;
  std::function<std::optional<double>()> utilization;
  std::unique_ptr<Backend> text_backend;  // the text encoder's, where it has one of its own
  std::string precision;
  DType weights;
  std::optional<TextEncoderHost> text_encoder_host;
  VaePrecision vae_precision;
  CheckpointModels models;
  std::optional<LoadedModels> loaded;
  ResidencyOptions loaded_residency{};
};

void Engine::Impl::load(const LoadOptions& load_options, const EventHandler& on_event,
                        const std::atomic<bool>* cancelled) {
  const ResidencyOptions& planned = load_options.residency;
  if (loaded && options.keep_models && loaded_residency.kind == planned.kind &&
      loaded_residency.places <= planned.places)
    return;
  loaded.reset();
  const ResidencyBytes bytes = planned_residency_bytes(models, load_options);
  const auto& text_host = load_options.text_encoder_host;
  const bool loads_text_host = text_host && text_host->residency.kind == ResidencyKind::kResident;
  const std::size_t total = bytes.all() + (loads_text_host ? bytes.text_encoder_host : 0);
  PhaseReporter phase(on_event, Phase::kLoad, static_cast<std::int64_t>(total));
  loaded.emplace(models, *backend, text_encoder_backend(), load_options, [&](std::size_t done, std::size_t) {
    WAN_CHECK(cancelled == nullptr || !cancelled->load(), kCancelled, "stopped on request");
    phase.progress(static_cast<std::int64_t>(done));
  });
  loaded_residency = planned;
  phase.finish();
}

GenerationResult Engine::Impl::generate(const GenerationRequest& request, const EventHandler& caller,
                                        const std::atomic<bool>* cancelled) {
  const auto start = std::chrono::steady_clock::now();
  std::int64_t flops = 0;
  std::function<DeviceUse()> read_device;
  if (backend->total_bytes() > 0) read_device = [this] { return device_use(); };
  RunMonitor monitor(caller, flops, read_device);
  const EventHandler on_event = caller ? EventHandler(std::ref(monitor)) : EventHandler();
  ResolvedRequest resolved = resolve(request);
  const PlannedRun planned = plan(resolved);
  const GenerationSettings& settings = resolved.settings;
  models.tokenizer();  // a damaged one is told before weights are loaded
  if (on_event) {
    on_event(RunSettings{to_metadata(settings)});
    for (const std::string& notice : resolved.notices) on_event(Notice{notice});
  }
  const SavedLatents* resumed = resolved.resumed ? &*resolved.resumed : nullptr;
  run_before_first_step(resumed, [&] { load(planned.load, on_event, cancelled); });
  loaded->set_feed_forward_pieces(planned.load.feed_forward_pieces);

  std::optional<DumpWriter> dump;
  if (!request.dump_dir.empty()) dump.emplace(request.dump_dir, settings.steps);
  SelfCommunicator communicator;
  FiniteCheck check;
  const auto context_on = [&](Backend& on, Workspace& workspace) {
    return ExecContext{.backend = on,
                       .workspace = workspace,
                       .communicator = communicator,
                       .cancelled = cancelled,
                       .check = request.check ? &check : nullptr,
                       .flops = &flops};
  };
  Workspace workspace(backend->allocator());
  ExecContext exec = context_on(*backend, workspace);
  Workspace text_workspace(text_encoder_backend().allocator());
  ExecContext text_exec = context_on(text_encoder_backend(), text_workspace);
  if (request.dump_taps)
    for (ExecContext* const each : {&exec, &text_exec})
      each->taps = [&dump, each](std::string_view name, const TensorView& view) {
        dump->tap(*each, name, view);
      };
  const RunContext run{.exec = exec,
                       .text_exec = text_backend ? text_exec : exec,
                       .settings = settings,
                       .on_event = on_event,
                       .dump = dump ? &*dump : nullptr};
  const PipelineModels pipeline{.tokenizer = loaded->tokenizer(),
                                .text_encoder = loaded->text_encoder(),
                                .experts = loaded->experts(),
                                .residency = loaded->residency(),
                                .vae = loaded->vae()};
  const VideoOutput output{resolved.save_file, resolved.latents};
  if (settings.image.empty() && settings.last_image.empty()) {
    text_to_video(run, pipeline, planned.decode, resolved.latent, output, resumed);
  } else if (models.task->image == ImageUse::kRequired) {
    image_to_video(run, pipeline, planned.encode, planned.decode, resolved.latent, resolved.images, output,
                   resumed);
  } else {
    text_image_to_video(run, pipeline, planned.encode, planned.decode, resolved.latent, resolved.images,
                        output, resumed);
  }

  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (on_event)
    on_event(Finished{.save_file = resolved.save_file.string(),
                      .frames = settings.frame_num,
                      .seconds = seconds,
                      .peak_host_bytes = peak_resident_bytes(),
                      .peak_device_bytes = read_device ? backend->memory_use().peak : 0});
  return {.save_file = resolved.save_file,
          .latents_file = resolved.latents.requested ? resolved.latents.path : std::filesystem::path(),
          .seed = settings.seed,
          .frames = settings.frame_num,
          .seconds = seconds};
}

Engine::Engine(const EngineOptions& options)
    : Engine(std::make_unique<Impl>(options, make_backend(options))) {}
Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;
Engine::Engine(Engine&&) noexcept = default;
Engine& Engine::operator=(Engine&&) noexcept = default;

Engine make_engine(const EngineOptions& options, std::unique_ptr<Backend> backend) {
  return Engine(std::make_unique<Engine::Impl>(options, ChosenBackend{.backend = std::move(backend)}));
}

void Engine::check(const GenerationRequest& request) const {
  impl_->plan(impl_->resolve(request));
  impl_->models.tokenizer();
}

MemoryPlan Engine::plan(const GenerationRequest& request) const {
  return impl_->plan(impl_->resolve(request)).plan;
}

GenerationResult Engine::generate(const GenerationRequest& request, const EventHandler& on_event,
                                  const std::atomic<bool>* cancelled) {
  return impl_->generate(request, on_event, cancelled);
}

}  // namespace wan
