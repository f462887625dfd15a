#pragma once
// StateKeeper: what a run has on disk before its latents are finished, so that one that is killed, or whose machine goes down, is
// not lost.

#include <filesystem>
#include <optional>

#include "kept/keep_schedule.h"
#include "kept/recovery.h"

namespace wan {

/// Keeps the newest state and the one before (see kept_generations.h). Each file is whole from the moment at which it has its name. Of a
/// rank that writes.
class StateKeeper {
 public:
  /// What `resumed` was loaded from counts as this run's own state where that is the file that it writes.
  StateKeeper(const RunContext& run, LatentsFile file, const SavedLatents* resumed, KeepInterval interval);

  /// Between two steps: keeps what was reached where it is time. What goes wrong is told, once for each place, and the run goes on.
  /// Returns where the state is; empty where it was not kept now.
  std::filesystem::path after_step(const Reached& reached, bool before_switch);

  /// Rethrows a failure of the denoising loop, in a step after the first that was done, after keeping what the run has reached.
  [[noreturn]] void keep_and_rethrow(const Reached& reached, const Error& error);

  /// `kept` holds all that was reached (empty: nothing does): other states of this run are removed.
  void replace_with(const std::filesystem::path& kept);

  /// The video is whole: all states of this run but `kept` are removed.
  void finish(const std::filesystem::path& kept);

 private:
  std::filesystem::path keep(const Reached& reached);
  void tell_failures(const WrittenLatents& written);
  void remove(const std::filesystem::path& state, const std::filesystem::path& kept) const;

  const RunContext& run_;
  LatentsFile file_;
  KeepSchedule schedule_;
  std::filesystem::path newest_;  // both empty where there is none
  std::filesystem::path earlier_;
  std::optional<std::filesystem::path> told_;  // the place, or none, that the last Notice of a failure named
};

}  // namespace wan
