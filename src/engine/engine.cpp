#include "wan/engine.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <optional>

#include "base/memory_info.h"
#include "engine/backend_factory.h"
#include "engine/device_group_agreement.h"
#include "engine/engine_internals.h"
#include "engine/fingerprint.h"
#include "engine/layout_choice.h"
#include "engine/process_share.h"
#include "engine/rank.h"
#include "engine/run_monitor.h"
#include "engine/settings_resolver.h"
#include "tasks/task.h"

namespace wan {

DType parse_precision(const char* member, const std::string& precision) {
  if (precision == "fp32") return DType::kF32;
  if (precision == "bf16") return DType::kBF16;
  fail(ErrorCode::kInvalidArgument, "{} {}: expected fp32 or bf16", member, precision);
}

namespace {

/// bf16 is what the models were trained in and what GPUs multiply fastest; CPUs gain little by it.
std::string default_precision(const Backend& backend) {
  return backend.device().kind == DeviceKind::kCpu ? "fp32" : "bf16";
}

/// What all ranks do for one video.
struct JointPlan {
  RankLayout layout;
  std::string reason;  // for the layout
  std::vector<PlannedRun> ranks;
};

}  // namespace

struct Engine::Impl {
  /// A rank's models may be copied from by other ranks: all of them go before the first device.
  ~Impl() {
    for (const auto& rank : ranks) {
      rank->unload();
      rank->connect({});
    }
    if (link != nullptr) link->drop_device_groups();
  }
  Impl(const EngineOptions& engine_options, std::vector<std::unique_ptr<Rank>> made)
      : options(engine_options),
        ranks(std::move(made)),
        precision(options.precision.empty() ? default_precision(first().backend()) : options.precision),
        weights(parse_precision("`precision`", precision)),
        text_encoder_host(describe_text_encoder_host()),
        vae_precision({.compute = parse_precision("`vae_precision`", options.vae_precision)}),
        models(with_field("ckpt_dir", [&] { return CheckpointModels(options.ckpt_dir, vae_precision); })) {
    const double timeout = options.rank_timeout.count();
    WAN_CHECK(timeout >= 0.1 && timeout <= 1e6, kInvalidArgument,
              "`rank_timeout` {}: expected seconds, 0.1 to 1000000", timeout);
    std::vector<ComputeDevice*> devices;
    for (const auto& rank : ranks) devices.push_back(&rank->backend());
    shares_memory = share_memory(devices, parse_p2p(options.p2p));
    check_ranks(static_cast<int>(ranks.size()));
  }

  /// Refused before any request where none could have a layout.
  void check_ranks(int count) const {
    static_cast<void>(
        possible_layouts(options, count, models.config().num_heads, /*guided_steps=*/1, /*steps=*/1));
  }

  /// Those of all processes.
  int all_ranks() const { return link != nullptr ? link->ranks() : static_cast<int>(ranks.size()); }
  /// Ranks that share this machine's memory.
  int machine_ranks() const {
    return static_cast<int>(ranks.size()) * (link != nullptr ? link->processes().local_size() : 1);
  }

  /// How long ranks may go on after another one has failed: the work between two exchanges may take as long, and what was reached is
  /// kept behind it.
  std::chrono::milliseconds patience() const {
    return std::max<std::chrono::milliseconds>(
        kEndOfRanks, std::chrono::duration_cast<std::chrono::milliseconds>(options.rank_timeout));
  }

  /// That events, dumps and kept state are of.
  Rank& first() const { return *ranks.front(); }

  /// How what one rank sends comes to another; see MemoryPlan.
  std::string transport() const {
    if (all_ranks() == 1) return "";
    if (link != nullptr) return link->has_device_groups() ? "nccl" : "mpi";
    return shares_memory && first().backend().device().kind != DeviceKind::kCpu ? "peer" : "host";
  }
  std::optional<Notice> transport_notice() const {
    if (link == nullptr || first().backend().device().kind == DeviceKind::kCpu) return std::nullopt;
    if (link->has_device_groups())
      return Notice{format_message("the processes' GPUs exchange by {}", MessagePart{group_library})};
    return Notice{format_message("the processes' GPUs exchange through the hosts' memory, by MPI: {}",
                                 MessagePart{by_letters_reason})};
  }

  /// What of the blocks stays, and what ranks divide: at most, for a plan.
  struct Holding {
    bool keep;
    Sharding sharding;
  };

  /// Ranks copy their parts of weights from one another's memory, which those of other processes cannot.
  bool divides_weights() const { return shares_memory && link == nullptr; }

  Holding wanted_holding() const {
    const auto count = static_cast<int>(ranks.size());
    if (count == 1 || !divides_weights()) return {options.keep_models, {}};
    return {options.keep_models,
            {.ranks = count,
             .transformer_blocks = options.dit_fsdp ? kAllBlocks : 0,
             .text_encoder = options.t5_fsdp && !text_encoder_host}};
  }

  /// A plan for each rank. What ranks hold for one another they hold alike: as much as fits on the one with the least memory.
  std::vector<PlannedRun> plan_ranks(const ResolvedRequest& request, const RankLayout& layout) const {
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

  /// With blocks that stay, where `most` says so, the video is the same as without, and no larger one comes beside them.
  PlannedRun plan(const Rank& rank, const ResolvedRequest& request, const RankLayout& layout,
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

  PlannedRun plan(const Rank& rank, const ResolvedRequest& request, const RankLayout& layout,
                  Sharding sharding, bool keep) const {
    const GenerationSettings& settings = request.settings;
    if (keep) {
      sharding.transformer_blocks = std::min(sharding.transformer_blocks, most_divided.load());
      sharding.text_encoder = sharding.text_encoder && divides_text.load();
    }
    const Scheduler scheduler = make_scheduler(settings.solver, settings.steps, settings.shift);
    return plan_run({.models = models,
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
                     .text_encoder_host = text_encoder_host,
                     .layout = layout,
                     .device_groups = link != nullptr && link->has_device_groups(),
                     .sharers = machine_ranks(),
                     .text_tokens = text_tokens(settings, scheduler, keep),
                     .sampler_slots = scheduler.slots()});
  }

  /// Every rank's, in the first possible layout in which whole frames fit, and the feed-forward in one piece; or in the last one.
  JointPlan plan(const ResolvedRequest& request) const {
    const GenerationSettings& settings = request.settings;
    const Scheduler scheduler = make_scheduler(settings.solver, settings.steps, settings.shift);
    const auto guided = static_cast<int>(guided_steps(settings, scheduler));
    const auto steps = static_cast<int>(scheduler.timesteps().size());
    const std::vector<RankLayout> layouts =
        possible_layouts(options, all_ranks(), models.config().num_heads, guided, steps);
    const auto planned = [&](const RankLayout& layout) {
      return JointPlan{.layout = layout,
                       .reason = layout_reason(options, layout, guided, steps),
                       .ranks = plan_ranks(request, layout)};
    };
    return plan_in_first(layouts, planned,
                         [](const JointPlan& joint) { return std::ranges::all_of(joint.ranks, is_whole); });
  }

  std::int64_t guided_steps(const GenerationSettings& settings, const Scheduler& scheduler) const {
    const Guidance guidance(settings.guide_scale, settings.boundary);
    return std::ranges::count_if(
        scheduler.timesteps(), [&](std::int64_t timestep) { return guidance.needs_unconditional(timestep); });
  }

  /// Tokens of each guidance branch's text. Where models stay for further requests, a longer prompt must not move their blocks:
  /// then empty, which stands for as many tokens as the models take.
  std::vector<std::int64_t> text_tokens(const GenerationSettings& settings, const Scheduler& scheduler,
                                        bool keep) const {
    if (keep) return {};
    const auto used = [&](const std::string& text) -> std::int64_t {
      return models.tokenizer().tokenize(text, static_cast<int>(models.config().text_len)).used;
    };
    std::vector<std::int64_t> tokens{used(settings.prompt)};
    if (guided_steps(settings, scheduler) > 0) tokens.push_back(used(settings.negative_prompt));
    return tokens;
  }

  /// Further plans with blocks that stay give no more of them a place, and divide no more of them, than this one does.
  void hold_to(const PlannedRun& run) {
    if (!run.load.residency.keep) return;
    const auto lower = [](std::atomic<int>& most, int fits) {
      int before = most.load();
      while (fits < before && !most.compare_exchange_weak(before, fits)) {
      }
    };
    const Sharding& sharding = run.load.sharding;
    // Places that divided blocks come through are always as many.
    if (sharding.transformer_blocks == 0) lower(most_places, run.plan.block_places);
    lower(most_divided, sharding.transformer_blocks);
    if (!sharding.text_encoder) divides_text = false;
  }

  /// The clip that the request's images become.
  std::optional<LatentExtent> encoded_clip(const ResolvedRequest& request) const {
    if (!request.images.first && !request.images.last) return std::nullopt;
    const Shape condition = models.task().condition_shape(models.vae->geometry(), request.latent);
    return LatentExtent{condition[1], request.latent[2], request.latent[3]};
  }

  /// Once, so that every plan of this engine holds the text encoder alike.
  std::optional<TextEncoderHost> describe_text_encoder_host() const {
    Backend* const own = first().own_text_backend();
    if (own == nullptr) return std::nullopt;
    const bool usual = options.precision.empty();
    return TextEncoderHost{
        .weights = usual ? parse_precision("`precision`", default_precision(*own)) : weights,
        .available = available_memory_bytes(),
        .backend = own};
  }

  GenerationResult generate(const GenerationRequest& request, const EventHandler& on_event,
                            const std::atomic<bool>* cancelled);

  RankReaders rank_readers() const {
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

  /// work() in this process; with others, a phase that they go through with it.
  void together(const std::function<void()>& work) const {
    if (link == nullptr) return work();
    link->together([&] {
      work();
      return Letter();
    });
  }
  /// The same, once the ranks are connected: what it throws ends the other processes' work as well.
  void together_connected(const std::function<void()>& work) const {
    if (link == nullptr) return work();
    together([&] {
      try {
        work();
      } catch (...) {
        const Error error = current_failure();
        link->end_connection(error);
        throw Error(error);
      }
    });
  }

  void share_ranks();
  void agree_on_vae_plans(const std::function<void()>& work, std::vector<PlannedRun>& plans) const;
  void connect(const RankLayout& layout);
  /// Of the first rank of this process `first` says more.
  void run_ranks(const std::vector<PlannedRun>& plans, const RankRun& run,
                 const std::function<void(RankRun&)>& first);
  void make_share(const SharedRequest& request);

  ResolvedRequest resolve(const GenerationRequest& request) const {
    return resolve_request(request, models,
                           {.precision = precision,
                            .vae_precision = options.vae_precision,
                            .device = first().backend().device(),
                            .grid = first().grid()});
  }

  EngineOptions options;
  std::unique_ptr<ProcessLink> link;  // to the other processes' shares; nullptr where this one makes all
  std::vector<std::unique_ptr<Rank>> ranks;
  bool shares_memory = false;     // each rank's device can read the others' memory
  std::string group_library;      // by which the processes' devices exchange, where they do
  std::string by_letters_reason;  // why they do not, where they could be asked to
  std::string precision;
  DType weights;
  std::optional<TextEncoderHost> text_encoder_host;
  VaePrecision vae_precision;
  CheckpointModels models;
  std::atomic<int> most_places{kAllBlocks};
  std::atomic<int> most_divided{kAllBlocks};  // blocks of each transformer
  std::atomic<bool> divides_text{true};
};

/// Tells each process how many ranks the others have, and holds the processes' checkpoints and devices against the first one's.
void Engine::Impl::share_ranks() {
  const auto parts = checkpoint_fingerprint(models);
  const auto kind = static_cast<int>(first().backend().device().kind);
  const Letter shared = link->together(
      [&] {
        LetterWriter mine;
        mine.put(static_cast<int>(ranks.size()));
        mine.put(kind);
        for (const auto& rank : ranks) put_group_support(mine, rank->backend().group_support());
        mine.put(parts.size());
        for (const auto& part : parts) mine.put(part.second);
        return mine.take();
      },
      [&](std::vector<Letter> letters) {
        LetterWriter counts;
        DeviceGroupAgreement agreement;
        int all = 0;
        for (std::size_t process = 0; process < letters.size(); ++process) {
          const std::string name = link->processes().name(static_cast<int>(process));
          LetterReader theirs(std::move(letters[process]));
          const int count = theirs.get<int>();
          all += count;
          counts.put(count);
          WAN_CHECK(theirs.get<int>() == kind, kUnsupported,
                    "{} computes on another kind of device than {}; name one that all have with `device`",
                    name, link->processes().name(0));
          for (int rank = 0; rank < count; ++rank) agreement.add(get_group_support(theirs), name);
          WAN_CHECK_FIELD(theirs.get<std::size_t>() == parts.size(), kBadFile, "ckpt_dir",
                          "{}: the checkpoint is another model's than on {}", name,
                          link->processes().name(0));
          for (const auto& [part, hash] : parts)
            WAN_CHECK_FIELD(theirs.get<std::uint64_t>() == hash, kBadFile, "ckpt_dir",
                            "{}: {} holds other weights than on {}; copy the checkpoint anew", name, part,
                            link->processes().name(0));
        }
        const int size = options.ulysses_size;
        WAN_CHECK(size == 0 || size == all || 2 * size == all, kInvalidArgument,
                  "`ulysses_size` {}: the processes have {} ranks together; leave it out, or ask for so many",
                  size, all);
        check_ranks(all);
        if (options.p2p == "off") agreement.refuse("`p2p` is off");
        counts.put(agreement.reason().empty() && !agreement.library().empty());
        counts.put(agreement.reason());
        counts.put(agreement.library());
        return counts.take();
      });
  LetterReader counts(shared);
  std::vector<int> by_process(static_cast<std::size_t>(link->processes().size()));
  for (int& count : by_process) count = counts.get<int>();
  const bool groups = counts.get<bool>();
  by_letters_reason = counts.text();
  group_library = counts.text();
  link->set_ranks(std::move(by_process), groups);
}

/// work(), which makes this process's plans; then the way that the rank with the least memory has room for becomes all ranks'.
void Engine::Impl::agree_on_vae_plans(const std::function<void()>& work,
                                      std::vector<PlannedRun>& plans) const {
  const auto put = [](const PlannedRun& plan) {
    LetterWriter letter;
    put_vae_plan(letter, plan.decode);
    put_vae_plan(letter, plan.encode);
    return letter.take();
  };
  const auto take = [](const Letter& shared, PlannedRun& plan) {
    LetterReader letter(shared);
    plan.decode = get_vae_plan(letter);
    plan.encode = get_vae_plan(letter);
  };
  const Letter shared = link->together(
      [&] {
        work();
        return put(plans.front());
      },
      [&](const std::vector<Letter>& letters) {
        std::vector<PlannedRun> of_processes(letters.size(), plans.front());
        for (std::size_t process = 0; process < letters.size(); ++process)
          take(letters[process], of_processes[process]);
        share_vae_plans(of_processes);
        return put(of_processes.front());
      });
  for (PlannedRun& plan : plans) take(shared, plan);
}

void Engine::Impl::connect(const RankLayout& layout) {
  if (link == nullptr) return connect_ranks(ranks, layout, options);
  const auto timeout = std::chrono::duration_cast<std::chrono::milliseconds>(options.rank_timeout);
  std::vector<ComputeDevice*> devices;
  for (const auto& rank : ranks) {
    rank->connect({});
    devices.push_back(&rank->backend());
  }
  link->open_connection(devices, layout, timeout);
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    ranks[i]->connect(link->connect(static_cast<int>(i), ranks[i]->backend(), layout, timeout));
  }
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

/// As generate(), in a process that is not the first one.
void Engine::Impl::make_share(const SharedRequest& request) {
  const ResolvedRequest resolved{.settings = request.settings,
                                 .latent = request.latent,
                                 .images = request.images,
                                 .save_file = {},
                                 .latents = {},
                                 .resumed = {},
                                 .notices = {}};
  std::vector<PlannedRun> plans;
  agree_on_vae_plans(
      [&] {
        plans = plan_ranks(resolved, request.layout);
        for (const PlannedRun& plan : plans) hold_to(plan);
        models.tokenizer();
      },
      plans);
  connect(request.layout);
  together_connected([&] { load_ranks(ranks, models, plans, {}, nullptr, patience()); });
  together_connected([&] {
    const RankRun every{.models = models,
                        .settings = request.settings,
                        .images = request.images,
                        .latent = request.latent,
                        .output = {},
                        .resumed = request.resumed ? &*request.resumed : nullptr,
                        .check = request.check};
    run_ranks(plans, every, [](RankRun&) {});
  });
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
      put_request(letter, settings, resolved.latent, layout, resolved.images, resolved.resumed,
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
      if (!divides_weights() && (options.dit_fsdp || options.t5_fsdp))
        on_event(Notice{
            "`dit_fsdp` and `t5_fsdp`: weights are not divided, as the ranks are in several processes, or "
            "their GPUs cannot read each other's memory, or shall not (`p2p`); blocks that do not fit are "
            "streamed"});
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
                        .images = resolved.images,
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
          .seed = settings.seed,
          .frames = settings.frame_num,
          .seconds = seconds};
}

namespace {

std::vector<std::unique_ptr<Rank>> make_ranks(const EngineOptions& options,
                                              std::vector<ChosenBackend> backends) {
  std::vector<std::unique_ptr<Rank>> ranks;
  for (std::size_t i = 0; i < backends.size(); ++i) {
    std::unique_ptr<Backend> text = make_text_backend(options, *backends[i].backend);
    ranks.push_back(std::make_unique<Rank>(std::move(backends[i]), std::move(text)));
  }
  return ranks;
}

ProcessPlace place_of(const ProcessGroup& processes) {
  return {.process = processes.rank(),
          .processes = processes.size(),
          .local_rank = processes.local_rank(),
          .local_size = processes.local_size()};
}

}  // namespace

/// This process's share.
std::unique_ptr<Engine::Impl> Engine::make_impl(const EngineOptions& options,
                                                std::unique_ptr<ProcessLink> link) {
  std::unique_ptr<Impl> impl;
  link->together([&] {
    impl = std::make_unique<Impl>(options,
                                  make_ranks(options, make_backends(options, place_of(link->processes()))));
    return Letter();
  });
  impl->link = std::move(link);
  impl->share_ranks();
  return impl;
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
  if (joint.ranks.size() == 1) return plan;
  for (std::size_t i = 0; i < joint.ranks.size(); ++i) {
    const MemoryPlan& own = joint.ranks[i].plan;
    plan.rank_memory.push_back({.device = to_string(impl_->ranks[i]->backend().device()),
                                .peak = own.peak,
                                .available = own.available});
  }
  return plan;
}

void Engine::expect(const GenerationRequest& request) {
  for (const PlannedRun& plan : impl_->plan(impl_->resolve(request)).ranks) impl_->hold_to(plan);
  impl_->models.tokenizer();
}

GenerationResult Engine::generate(const GenerationRequest& request, const EventHandler& on_event,
                                  const std::atomic<bool>* cancelled) {
  return impl_->generate(request, on_event, cancelled);
}

EngineShare::EngineShare(const EngineOptions& options, std::unique_ptr<ProcessLink> link)
    : impl_(Engine::make_impl(options, std::move(link))) {}
EngineShare::~EngineShare() = default;

void EngineShare::generate(const SharedRequest& request) {
  impl_->make_share(request);
}

}  // namespace wan
