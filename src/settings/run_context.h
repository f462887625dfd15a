#pragma once
// RunContext: what the steps of one generation share beside the models.

#include "dump/dump.h"
#include "ops/backend.h"
#include "parallel/rank_layout.h"
#include "settings/settings.h"
#include "wan/events.h"

namespace wan {

struct RunContext {
  ExecContext& exec;              // its communicator is every rank's
  ExecContext& text_exec;         // for the text encoder: `exec`, or one on the CPU beside a device
  ExecContext& transformer_exec;  // for a pass: `exec`, or one whose communicator is this rank's group's
  RankLayout layout = {};
  const GenerationSettings& settings;
  const EventHandler& on_event;
  DumpWriter* dump = nullptr;                    // nullptr: nothing is dumped
  const std::atomic<bool>* cancelled = nullptr;  // set by another thread, to stop

  void tell(const Event& event) const {
    if (on_event) on_event(event);
  }
  /// Throws Cancelled where the caller asked to stop: on every rank, or on none. Between steps; inside of one the ranks would part.
  void check_cancelled() const;
};

}  // namespace wan
