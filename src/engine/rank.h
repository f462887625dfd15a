#pragma once
// Rank: one device's share of an engine's work: its backends, its models, its way to the other ranks, and the plan of what lives where.

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>

#include "engine/backend_factory.h"
#include "engine/loaded_models.h"
#include "engine/memory_plan.h"
#include "engine/rank_connection.h"
#include "engine/rank_threads.h"
#include "pipeline/run.h"

namespace wan {

/// What every rank of a run works on.
struct RankRun {
  const CheckpointModels& models;
  const GenerationSettings& settings;
  const RunInputs& inputs;
  Shape latent;
  VideoOutput output;
  const SavedLatents* resumed = nullptr;
  KeepInterval keep = {};
  bool check = false;  // see GenerationRequest
  // Rank 0's:
  EventHandler on_event = {};
  DumpWriter* dump = nullptr;
  bool dump_taps = false;
  std::int64_t* flops = nullptr;  // grows while the run computes
  const std::atomic<bool>* cancelled = nullptr;
  bool stops_in_a_step = false;  // this rank may stop by itself: what it throws ends the others
};

class Rank {
 public:
  /// `text_backend` is the text encoder's where it has one of its own, otherwise nullptr.
  Rank(ChosenBackend chosen, std::unique_ptr<Backend> text_backend);

  Backend& backend() const { return *backend_; }
  Backend* own_text_backend() const { return text_backend_.get(); }
  const CudaLaunchGrid& grid() const { return grid_; }
  /// What a device with memory of its own does. From any thread.
  DeviceUse device_use() const;

  /// Its ways to the other ranks, for the next video: one that failed ends the way of all.
  void connect(RankConnection connection) { connection_ = std::move(connection); }
  /// Ends the other ranks' work with this one.
  void abort(const Error& cause) const noexcept { connection_.abort(cause); }
  /// See Communicator.
  bool anyone_rests() const { return connection_.all->anyone_rests(); }
  /// For the other ranks: of its thread, and of its device's work. Only differences mean something. From any thread.
  double waited_seconds() const { return connection_.waited_seconds() + backend_->waited_seconds(); }
  /// Whether the models are in memory as the plan says, to stay.
  bool holds(const LoadOptions& options) const;
  void unload() { loaded_.reset(); }
  /// Loads them unless holds(); `shares` are this rank's.
  void load(const CheckpointModels& models, const LoadOptions& options, const ModelShares& shares,
            const EventHandler& on_event, const std::atomic<bool>* cancelled);
  /// This rank's part of a video.
  void run(const RankRun& run, const PlannedRun& plan);

 private:
  /// While the caller looks at an event no other rank's patience ends.
  EventHandler patient(const EventHandler& on_event) const;
  Backend& text_encoder_backend() const { return text_backend_ ? *text_backend_ : *backend_; }

  std::unique_ptr<Backend> backend_;
  CudaLaunchGrid grid_;
  std::function<std::optional<double>()> utilization_;
  std::unique_ptr<Backend> text_backend_;
  RankConnection connection_;
  std::optional<LoadedModels> loaded_;
  ResidencyOptions loaded_residency_{};
  Sharding loaded_sharding_{};
  bool loaded_text_through_places_ = false;
};

/// Connects all of them anew, whatever an earlier video ended in: see connect_devices().
void connect_ranks(std::span<const std::unique_ptr<Rank>> ranks, const RankLayout& layout,
                   const EngineOptions& options);

/// on_rank_threads() for `ranks`.
void on_every_rank(std::span<const std::unique_ptr<Rank>> ranks, const std::function<void(int rank)>& work,
                   std::chrono::milliseconds patience = kEndOfRanks);

/// Has every rank's models in memory as its plan says, which divide blocks alike; events are rank 0's. When one rank fails the others
/// stop at their next block. `patience`: see on_rank_threads().
void load_ranks(std::span<const std::unique_ptr<Rank>> ranks, const CheckpointModels& models,
                std::span<const PlannedRun> plans, const EventHandler& on_event,
                const std::atomic<bool>* cancelled, std::chrono::milliseconds patience);

}  // namespace wan
