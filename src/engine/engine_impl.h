#pragma once
// What an engine is made of: its ranks in this process, its checkpoint, and the link to other processes' shares. engine.cpp makes
// videos, engine_plan.cpp decides what lives where, engine_processes.cpp does both together with other processes.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine_internals.h"
#include "engine/layout_times.h"
#include "engine/process_share.h"
#include "engine/rank.h"
#include "engine/run_monitor.h"
#include "engine/settings_resolver.h"

namespace wan {

/// What all ranks do for one video.
struct JointPlan {
  RankLayout layout;
  std::string reason;     // for the layout
  double link_share = 0;  // see MemoryPlan
  std::vector<PlannedRun> ranks;
};

struct Engine::Impl {
  Impl(const EngineOptions& engine_options, std::vector<std::unique_ptr<Rank>> made);
  /// A rank's models may be copied from by other ranks: all of them go before the first device.
  ~Impl() {
    if (link != nullptr) link->end();
    for (const auto& rank : ranks) {
      rank->unload();
      rank->connect({});
    }
    if (link != nullptr) link->drop_device_groups();
  }

  /// That events, dumps and kept state are of.
  Rank& first() const { return *ranks.front(); }
  /// Those of all processes.
  int all_ranks() const { return link != nullptr ? link->ranks() : static_cast<int>(ranks.size()); }
  /// Ranks that share this machine's memory.
  int machine_ranks() const {
    return static_cast<int>(ranks.size()) * (link != nullptr ? link->processes().local_size() : 1);
  }

  /// How what one rank sends comes to another; see MemoryPlan.
  std::string transport() const;
  /// The same of processes' GPUs, for a person.
  std::optional<Notice> transport_notice() const;

  /// How long ranks may go on after another one has failed: the work between two exchanges may take as long, and what was reached is
  /// kept behind it.
  std::chrono::milliseconds patience() const {
    return std::max<std::chrono::milliseconds>(
        kEndOfRanks, std::chrono::duration_cast<std::chrono::milliseconds>(options.rank_timeout));
  }

  // engine.cpp
  ResolvedRequest resolve(const GenerationRequest& request) const;
  GenerationResult generate(const GenerationRequest& request, const EventHandler& on_event,
                            const std::atomic<bool>* cancelled);
  RankReaders rank_readers() const;
  /// Of the first rank of this process `first` says more.
  void run_ranks(const std::vector<PlannedRun>& plans, const RankRun& run,
                 const std::function<void(RankRun&)>& first);

  // engine_plan.cpp
  /// What of the blocks stays, and what ranks divide: at most, for a plan.
  struct Holding {
    bool keep;
    Sharding sharding;
  };

  /// Refused before any request where none could have a layout.
  void check_ranks(int count) const;
  /// Ranks of one process copy their parts of weights from one another's memory; those of other processes have parts of their own.
  bool divides_weights() const { return shares_memory && ranks.size() > 1; }
  /// Of all ranks the first one encodes text, for the others too.
  bool encodes_text(const Rank& rank) const {
    return &rank == ranks.front().get() && (link == nullptr || link->is_first());
  }
  Holding wanted_holding() const;
  /// Every rank's, in the first possible layout in which whole frames fit, and the feed-forward in one piece; or in the last one.
  JointPlan plan(const ResolvedRequest& request) const;
  /// A plan for each rank. What ranks hold for one another they hold alike: as much as fits on the one with the least memory.
  std::vector<PlannedRun> plan_ranks(const ResolvedRequest& request, const RankLayout& layout) const;
  /// With blocks that stay, where `most` says so, the video is the same as without, and no larger one comes beside them.
  PlannedRun plan(const Rank& rank, const ResolvedRequest& request, const RankLayout& layout,
                  const Holding& most) const;
  PlannedRun plan(const Rank& rank, const ResolvedRequest& request, const RankLayout& layout,
                  Sharding sharding, bool keep) const;
  /// Of this process's GPUs, measured when first asked for; nothing where ranks are no GPUs, or of several processes.
  std::optional<RankRates> rates() const;
  std::int64_t guided_steps(const GenerationSettings& settings, const Scheduler& scheduler) const;
  /// Tokens of each guidance branch's text. Where models stay for further requests, a longer prompt must not move their blocks:
  /// then empty, which stands for as many tokens as the models take.
  std::vector<std::int64_t> text_tokens(const GenerationSettings& settings, const Scheduler& scheduler,
                                        bool keep) const;
  /// Further plans with blocks that stay give no more of them a place, and divide no more of them, than this one does.
  void hold_to(const PlannedRun& run);
  /// The clip that the request's images become, or what comes before the clips of a sound.
  std::optional<LatentExtent> encoded_clip(const ResolvedRequest& request) const;
  /// Once, so that every plan of this engine holds the text encoder alike.
  std::optional<TextEncoderHost> describe_text_encoder_host() const;

  // engine_processes.cpp
  /// work() in this process; with others, a phase that they go through with it.
  void together(const std::function<void()>& work) const;
  /// The same, once the ranks are connected: what it throws ends the other processes' work as well.
  void together_connected(const std::function<void()>& work) const;
  /// Tells each process how many ranks the others have, and holds the processes' checkpoints and devices against the first one's.
  void share_ranks();
  /// work(), which makes this process's plans; then the way that the rank with the least memory has room for becomes all ranks'.
  void agree_on_vae_plans(const std::function<void()>& work, std::vector<PlannedRun>& plans) const;
  /// The ranks, with those of the other processes.
  void connect(const RankLayout& layout);
  /// As generate(), in a process that is not the first one.
  void make_share(const SharedRequest& request);

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
  mutable std::mutex rates_mutex;
  mutable std::optional<RankRates> measured_rates;
};

/// A rank for each of the backends.
std::vector<std::unique_ptr<Rank>> make_ranks(const EngineOptions& options,
                                              std::vector<ChosenBackend> backends);

/// "bf16" for a GPU, "fp32" for a CPU.
std::string default_precision(const Backend& backend);

}  // namespace wan
