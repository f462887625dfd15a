#include "engine/rank.h"

#include <mutex>
#include <thread>

#include "engine/residency_bytes.h"
#include "parallel/local/local_communicator.h"
#include "pipeline/phase_reporter.h"
#include "tasks/task.h"

namespace wan {

Rank::Rank(ChosenBackend chosen, std::unique_ptr<Backend> text_backend)
    : backend_(std::move(chosen.backend)),
      grid_(chosen.grid),
      utilization_(std::move(chosen.utilization)),
      text_backend_(std::move(text_backend)) {}

DeviceUse Rank::device_use() const {
  const Backend::MemoryUse use = backend_->memory_use();
  return {.used = use.now,
          .peak = use.peak,
          .total = backend_->total_bytes(),
          .utilization = utilization_ ? utilization_() : std::nullopt};
}

void Rank::load(const CheckpointModels& models, const LoadOptions& options, const EventHandler& on_event,
                const std::atomic<bool>* cancelled) {
  const ResidencyOptions& planned = options.residency;
  if (loaded_ && loaded_residency_.keep && planned.keep && loaded_residency_.kind == planned.kind &&
      loaded_residency_.places <= planned.places)
    return;
  loaded_.reset();
  const ResidencyBytes bytes = planned_residency_bytes(models, options);
  const auto& text_host = options.text_encoder_host;
  const bool loads_text_host = text_host && text_host->residency.kind == ResidencyKind::kResident;
  const std::size_t total = bytes.all() + (loads_text_host ? bytes.text_encoder_host : 0);
  PhaseReporter phase(on_event, Phase::kLoad, static_cast<std::int64_t>(total));
  loaded_.emplace(models, *backend_, text_encoder_backend(), options, [&](std::size_t done, std::size_t) {
    WAN_CHECK(cancelled == nullptr || !cancelled->load(), kCancelled, "stopped on request");
    phase.progress(static_cast<std::int64_t>(done));
  });
  loaded_residency_ = planned;
  phase.finish();
}

void Rank::run(const RankRun& run, const PlannedRun& plan) {
  FiniteCheck check;
  const bool stops = communicator_->size() == 1 || run.stops_in_a_step;
  const auto context_on = [&](Backend& on, Workspace& workspace) {
    return ExecContext{.backend = on,
                       .workspace = workspace,
                       .communicator = *communicator_,
                       .cancelled = stops ? run.cancelled
                                          : nullptr,  // otherwise in a step ranks stop together or not at all
                       .check = run.check ? &check : nullptr,
                       .flops = run.flops};
  };
  Workspace workspace(backend_->allocator());
  ExecContext exec = context_on(*backend_, workspace);
  Workspace text_workspace(text_encoder_backend().allocator());
  ExecContext text_exec = context_on(text_encoder_backend(), text_workspace);
  if (run.dump_taps)
    for (ExecContext* const each : {&exec, &text_exec})
      each->taps = [&run, each](std::string_view name, const TensorView& view) {
        run.dump->tap(*each, name, view);
      };
  const RunContext context{.exec = exec,
                           .text_exec = text_backend_ ? text_exec : exec,
                           .settings = run.settings,
                           .on_event = run.on_event,
                           .dump = run.dump,
                           .cancelled = run.cancelled};
  loaded_->set_feed_forward_pieces(plan.load.feed_forward_pieces);
  Run video(context, loaded_->pipeline(),
            {.latent = run.latent,
             .decode = plan.decode,
             .encode = plan.encode,
             .output = run.output,
             .resumed = run.resumed,
             .keep = run.keep});
  run.models.task().run(video, run.images);
  video.finish();
}

void connect_ranks(std::span<const std::unique_ptr<Rank>> ranks) {
  if (ranks.size() == 1) return;
  std::vector<ComputeDevice*> devices;
  for (const auto& rank : ranks) devices.push_back(&rank->backend());
  std::vector<std::unique_ptr<Communicator>> communicators = make_local_communicators(devices);
  for (std::size_t i = 0; i < ranks.size(); ++i) ranks[i]->connect(std::move(communicators[i]));
}

void on_every_rank(std::span<const std::unique_ptr<Rank>> ranks, const std::function<void(int rank)>& work) {
  if (ranks.size() == 1) {
    work(0);
    return;
  }
  std::mutex mutex;
  std::optional<Error> chosen;
  std::vector<std::thread> threads;
  for (std::size_t rank = 0; rank < ranks.size(); ++rank)
    threads.emplace_back([&, rank] {
      try {
        work(static_cast<int>(rank));
      } catch (...) {
        const Error error = current_failure();
        const bool cancelled = error.code() == ErrorCode::kCancelled;
        {
          // The first one is no consequence of another's. Of a failure that all have, rank 0 says what is kept.
          const std::lock_guard lock(mutex);
          const bool says_more = chosen && std::string_view(error.what()).starts_with(chosen->what());
          if (!chosen || (rank == 0 && (cancelled || says_more))) chosen = error;
        }
        if (!cancelled) ranks[rank]->communicator().abort();
      }
    });
  for (std::thread& thread : threads) thread.join();
  if (chosen) throw Error(*chosen);
}

}  // namespace wan
