#include "engine/rank.h"

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <thread>

#include "base/log.h"
#include "engine/residency_bytes.h"
#include "pipeline/phase_reporter.h"
#include "tasks/task.h"

namespace wan {

Rank::Rank(ChosenBackend chosen, std::unique_ptr<Backend> text_backend)
    : backend_(std::move(chosen.backend)),
      grid_(chosen.grid),
      utilization_(std::move(chosen.utilization)),
      text_backend_(std::move(text_backend)) {}

void Rank::connect(const RankLayout& layout, std::unique_ptr<Communicator> all,
                   std::unique_ptr<Communicator> group) {
  layout_ = layout;
  communicator_ = std::move(all);
  group_ = std::move(group);
}

void Rank::abort(const Error& cause) noexcept {
  communicator_->abort(cause);
  if (group_) group_->abort(cause);
}

EventHandler Rank::patient(const EventHandler& on_event) const {
  if (!on_event) return {};
  return [this, &on_event](const Event& event) {
    const RankRest rest(*communicator_);
    on_event(event);
  };
}

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
  const EventHandler patient_handler = patient(on_event);
  PhaseReporter phase(patient_handler, Phase::kLoad, static_cast<std::int64_t>(total));
  loaded_.emplace(models, *backend_, text_encoder_backend(), options, [&](std::size_t done, std::size_t) {
    WAN_CHECK(cancelled == nullptr || !cancelled->load(), kCancelled, "stopped on request");
    communicator_->check();
    phase.progress(static_cast<std::int64_t>(done));
  });
  loaded_residency_ = planned;
  phase.finish();
}

void Rank::run(const RankRun& run, const PlannedRun& plan) {
  FiniteCheck check;
  const bool stops = communicator_->size() == 1 || run.stops_in_a_step;
  const auto context_on = [&](Backend& on, Workspace& workspace, Communicator& communicator) {
    return ExecContext{.backend = on,
                       .workspace = workspace,
                       .communicator = communicator,
                       .cancelled = stops ? run.cancelled
                                          : nullptr,  // otherwise in a step ranks stop together or not at all
                       .check = run.check ? &check : nullptr,
                       .flops = run.flops};
  };
  Workspace workspace(backend_->allocator());
  ExecContext exec = context_on(*backend_, workspace, *communicator_);
  ExecContext group_exec = context_on(*backend_, workspace, group_ ? *group_ : *communicator_);
  Workspace text_workspace(text_encoder_backend().allocator());
  ExecContext text_exec = context_on(text_encoder_backend(), text_workspace, *communicator_);
  if (run.dump_taps)
    for (ExecContext* const each : {&exec, &group_exec, &text_exec})
      each->taps = [&run, each](std::string_view name, const TensorView& view) {
        run.dump->tap(*each, name, view);
      };
  const EventHandler on_event = patient(run.on_event);
  const RunContext context{.exec = exec,
                           .text_exec = text_backend_ ? text_exec : exec,
                           .transformer_exec = group_ ? group_exec : exec,
                           .layout = layout_,
                           .settings = run.settings,
                           .on_event = on_event,
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

Links parse_p2p(const std::string& p2p) {
  if (p2p == "auto") return Links::kAuto;
  if (p2p == "on") return Links::kDirect;
  if (p2p == "off") return Links::kHost;
  fail(ErrorCode::kInvalidArgument, "`p2p` {}: expected on, off or auto", p2p);
}

void connect_ranks(std::span<const std::unique_ptr<Rank>> ranks, const RankLayout& layout,
                   const EngineOptions& options) {
  if (ranks.size() == 1) return;
  const auto timeout = std::chrono::duration_cast<std::chrono::milliseconds>(options.rank_timeout);
  const Links links = parse_p2p(options.p2p);
  std::vector<ComputeDevice*> devices;
  for (const auto& rank : ranks) devices.push_back(&rank->backend());
  std::vector<std::unique_ptr<Communicator>> all = make_local_communicators(devices, timeout, links);
  std::vector<std::unique_ptr<Communicator>> groups(ranks.size());
  if (layout.groups > 1) {
    const auto size = static_cast<std::size_t>(layout.sequence);
    for (std::size_t first = 0; first < ranks.size(); first += size)
      std::ranges::move(make_local_communicators(std::span(devices).subspan(first, size), timeout, links),
                        groups.begin() + static_cast<std::ptrdiff_t>(first));
  }
  for (std::size_t i = 0; i < ranks.size(); ++i)
    ranks[i]->connect(layout, std::move(all[i]), std::move(groups[i]));
}

namespace {

/// A failure of rank `rank`, as all are told.
Error failure_of(const Rank& rank, int number) {
  const Error error = current_failure();
  if (number == 0 || error.code() == ErrorCode::kCancelled) return error;
  return {error.code(),
          fmt::format("rank {}, {}: {}", number, to_string(rank.backend().device()), error.what()),
          error.field()};
}

/// What became of the ranks' threads.
class Ends {
 public:
  explicit Ends(std::size_t ranks) : failures_(ranks), running_(ranks) {}

  void add(std::size_t rank, std::optional<Error> failure) {
    const std::lock_guard lock(mutex_);
    if (failure && !first_) first_ = failure;
    failures_[rank] = std::move(failure);
    --running_;
    changed_.notify_all();
  }

  /// Once all have ended: rank 0's failure, otherwise the first one, if any. Does not return where ranks go on for `patience` after a failure.
  std::optional<Error> wait(std::chrono::milliseconds patience) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return running_ == 0 || first_; });
    // In slices, of which a process that was stopped meanwhile loses one and not all.
    const std::chrono::milliseconds slice = patience / 10;
    for (int slices = 0; !changed_.wait_for(lock, slice, [&] { return running_ == 0; });)
      if (++slices == 10) {
        log(LogLevel::kError, format_message("{} of the ranks do not end, so that the program does: {}",
                                             running_, MessagePart{failure()->what()}));
        std::_Exit(exit_status(failure()->code()));
      }
    return failure();
  }

 private:
  std::optional<Error> failure() const { return failures_.front() ? failures_.front() : first_; }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::optional<Error>> failures_;
  std::optional<Error> first_;
  std::size_t running_;
};

}  // namespace

void on_every_rank(std::span<const std::unique_ptr<Rank>> ranks, const std::function<void(int rank)>& work,
                   std::chrono::milliseconds patience) {
  if (ranks.size() == 1) {
    work(0);
    return;
  }
  Ends ends(ranks.size());
  std::vector<std::thread> threads;
  for (std::size_t rank = 0; rank < ranks.size(); ++rank)
    threads.emplace_back([&, rank] {
      std::optional<Error> failure;
      try {
        work(static_cast<int>(rank));
      } catch (...) {
        failure = failure_of(*ranks[rank], static_cast<int>(rank));
        // All ranks are cancelled at the same place, or rank 0 alone, while it does what is its own.
        if (rank == 0 || failure->code() != ErrorCode::kCancelled) ranks[rank]->abort(*failure);
      }
      ends.add(rank, std::move(failure));
    });
  const std::optional<Error> failure = ends.wait(patience);
  for (std::thread& thread : threads) thread.join();
  if (failure) throw Error(*failure);
}

}  // namespace wan
