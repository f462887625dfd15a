#include "engine/rank.h"

#include "engine/residency_bytes.h"
#include "engine/speech_inputs.h"
#include "pipeline/phase_reporter.h"
#include "tasks/task.h"

namespace wan {

Rank::Rank(ChosenBackend chosen, std::unique_ptr<Backend> text_backend)
    : backend_(std::move(chosen.backend)),
      grid_(chosen.grid),
      utilization_(std::move(chosen.utilization)),
      text_backend_(std::move(text_backend)) {}

EventHandler Rank::patient(const EventHandler& on_event) const {
  if (!on_event) return {};
  return [this, &on_event](const Event& event) {
    const RankRest rest(*connection_.all);
    on_event(event);
  };
}

DeviceUse Rank::device_use() const {
  const Backend::MemoryUse use = backend_->memory_use();
  return {.name = to_string(backend_->device()),
          .used = use.now,
          .peak = use.peak,
          .total = backend_->total_bytes(),
          .utilization = utilization_ ? utilization_() : std::nullopt};
}

bool Rank::holds(const LoadOptions& options) const {
  const ResidencyOptions& planned = options.residency;
  return loaded_ && loaded_residency_.keep && planned.keep && loaded_residency_.kind == planned.kind &&
         loaded_residency_.places <= planned.places && loaded_sharding_ == options.sharding &&
         loaded_text_through_places_ >= options.text_through_places;
}

void Rank::load(const CheckpointModels& models, const LoadOptions& options, const ModelShares& shares,
                const EventHandler& on_event, const std::atomic<bool>* cancelled) {
  if (holds(options)) return;
  unload();
  const ResidencyBytes bytes = planned_residency_bytes(models, options);
  const auto& text_host = options.text_encoder_host;
  const bool loads_text_host = text_host && text_host->residency.kind == ResidencyKind::kResident;
  const std::size_t total = bytes.all() + (loads_text_host ? bytes.text_encoder_host : 0);
  const EventHandler patient_handler = patient(on_event);
  PhaseReporter phase(patient_handler, Phase::kLoad, static_cast<std::int64_t>(total));
  loaded_.emplace(models, *backend_, text_encoder_backend(), options, shares,
                  [&](std::size_t done, std::size_t) {
                    WAN_CHECK(cancelled == nullptr || !cancelled->load(), kCancelled, "stopped on request");
                    connection_.all->check();
                    phase.progress(static_cast<std::int64_t>(done));
                  });
  loaded_residency_ = options.residency;
  loaded_sharding_ = options.sharding;
  loaded_text_through_places_ = options.text_through_places;
  phase.finish();
}

void Rank::run(const RankRun& run, const PlannedRun& plan) {
  FiniteCheck check;
  const bool alone = connection_.all->size() == 1;
  const bool stops = alone || run.stops_in_a_step;
  const auto context_on = [&](Backend& on, Workspace& workspace, Communicator& communicator, DType weights) {
    return ExecContext{.backend = on,
                       .workspace = workspace,
                       .communicator = communicator,
                       .cancelled = stops ? run.cancelled
                                          : nullptr,  // otherwise in a step ranks stop together or not at all
                       .check = run.check ? &check : nullptr,
                       .flops = run.flops,
                       .cancelled_together = alone ? nullptr : run.cancelled,
                       .unpacked = weights};
  };
  Workspace workspace(backend_->allocator());
  ExecContext exec = context_on(*backend_, workspace, *connection_.all, plan.load.weights);
  ExecContext group_exec = context_on(*backend_, workspace, connection_.group_or_all(), plan.load.weights);
  std::unique_ptr<const MachineRanks> machines;
  if (connection_.across) {
    machines.reset(new MachineRanks{*connection_.within, *connection_.across, connection_.machine_ranks});
    (connection_.group ? group_exec : exec).machines = machines.get();
  }
  Workspace text_workspace(text_encoder_backend().allocator());
  ExecContext text_exec =
      context_on(text_encoder_backend(), text_workspace, *connection_.all, plan.load.text_weights());
  if (run.dump_taps)
    for (ExecContext* const each : {&exec, &group_exec, &text_exec})
      each->taps = [&run, each](std::string_view name, const TensorView& view) {
        run.dump->tap(*each, name, view);
      };
  const EventHandler on_event = patient(run.on_event);
  const RunContext context{.exec = exec,
                           .text_exec = text_backend_ ? text_exec : exec,
                           .transformer_exec = connection_.group ? group_exec : exec,
                           .layout = connection_.layout,
                           .settings = run.settings,
                           .on_event = on_event,
                           .dump = run.dump,
                           .cancelled = run.cancelled};
  loaded_->set_feed_forward_pieces(plan.load.feed_forward_pieces);
  Run video(context, loaded_->pipeline(),
            {.latent = run.latent,
             .segments = run.settings.segments(),
             .decode = plan.decode,
             .encode = plan.encode,
             .output = run.output,
             .sound = run.output.save_file.empty() ? std::nullopt : sound_of(run.settings),
             .resumed = run.resumed,
             .keep = run.keep});
  run.models.task().run(video, run.inputs);
  video.finish();
}

void connect_ranks(std::span<const std::unique_ptr<Rank>> ranks, const RankLayout& layout,
                   const EngineOptions& options) {
  if (ranks.size() == 1) return;
  std::vector<ComputeDevice*> devices;
  for (const auto& rank : ranks) devices.push_back(&rank->backend());
  std::vector<RankConnection> connections = connect_devices(devices, layout, options);
  for (std::size_t i = 0; i < ranks.size(); ++i) ranks[i]->connect(std::move(connections[i]));
}

void on_every_rank(std::span<const std::unique_ptr<Rank>> ranks, const std::function<void(int rank)>& work,
                   std::chrono::milliseconds patience) {
  std::vector<Device> devices;
  for (const auto& rank : ranks) devices.push_back(rank->backend().device());
  on_rank_threads(
      devices, work,
      [&](int rank, const Error& cause) { ranks[static_cast<std::size_t>(rank)]->abort(cause); },
      [&] { return ranks.front()->anyone_rests(); }, patience);
}

void load_ranks(std::span<const std::unique_ptr<Rank>> ranks, const CheckpointModels& models,
                std::span<const PlannedRun> plans, const EventHandler& on_event,
                const std::atomic<bool>* cancelled, std::chrono::milliseconds patience) {
  // What ranks hold for one another they load together, and one may still copy from another what is to go.
  const Sharding& sharding = plans.front().load.sharding;
  bool all_hold = true;
  for (std::size_t i = 0; i < ranks.size(); ++i) all_hold = all_hold && ranks[i]->holds(plans[i].load);
  for (std::size_t i = 0; i < ranks.size(); ++i)
    if (sharding.ranks > 1 ? !all_hold : !ranks[i]->holds(plans[i].load)) ranks[i]->unload();
  ModelShares shares = make_shares(models, sharding);
  Backend& first = ranks.front()->backend();
  if (ranks.size() > 1 && first.device().kind != DeviceKind::kCpu)
    shares.read_once(static_cast<int>(ranks.size()), first.transfer_allocator());
  for (std::size_t i = 0; i < ranks.size(); ++i)
    if (ranks[i]->holds(plans[i].load)) shares.reads_nothing(static_cast<int>(i));
  const auto load = [&](int rank) {
    const auto i = static_cast<std::size_t>(rank);
    ranks[i]->load(models, plans[i].load, shares.of(rank), rank == 0 ? on_event : EventHandler(), cancelled);
  };
  on_every_rank(ranks, load, patience);
}

}  // namespace wan
