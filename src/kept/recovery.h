#pragma once
// What survives a failure: latents kept on disk, and messages that say how to go on with them.

#include <exception>
#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"
#include "kept/denoise_state.h"
#include "kept/saved_latents.h"
#include "settings/run_context.h"

namespace wan {

/// Where a run's latents go before they are decoded, and when it ends early.
struct LatentsFile {
  std::filesystem::path path;
  bool requested = false;  // stays; otherwise it is removed once the video is whole
  /// Where they go as long as they are not finished; empty: to `path`.
  std::filesystem::path unfinished = {};
  /// Tried in turn where a file cannot be written; after them comes the folder for temporary files.
  std::vector<std::filesystem::path> spares = {};

  const std::filesystem::path& of_state() const { return unfinished.empty() ? path : unfinished; }
};

/// What a run can go on from, on the device.
struct Reached {
  const DenoiseState& state;  // of the segment
  const Tensor& condition;    // see SegmentInput; empty for none
  int segment = 0;
  int segments = 1;
  const FinishedSegments& done;  // latents of the segments before it
  bool keeps_condition = false;  // with finished latents too: see SegmentInput
};

/// A copy of what was reached, to be saved as `file` says.
SavedLatents copy_to_host(const RunContext& run, const Reached& reached, const LatentsFile& file);

/// Where latents were written, and why not elsewhere.
struct WrittenLatents {
  std::filesystem::path file;  // empty for nowhere
  std::string failures;        // a message, of the places before it; empty for none
};

/// Writes latents to the first place of `file` that takes them. Where that is `newest`, what it holds becomes
/// earlier_generation(newest).
WrittenLatents write_latents(const SavedLatents& latents, const LatentsFile& file,
                             const std::filesystem::path& newest = {});

/// Saves what was reached to `file` or, where that fails (a full disk), to the next place. Returns where it is; empty where
/// none can be written: a run is not given up for that. Tells a Notice in both cases. Throws nothing but what memory that ran
/// out throws.
std::filesystem::path keep_latents(const RunContext& run, const Reached& reached, const LatentsFile& file);

/// "go on with `from_latents` ...", as a shell takes it.
MessagePart go_on_with(const std::filesystem::path& latents);

/// Tells a message (base/error.h) as a Notice, or logs it where whoever listens fails, as on a terminal that was closed: what is kept must not depend on that.
void tell_quietly(const RunContext& run, const std::string& message);

/// Rethrows a failure after the last step; `kept`: where the finished latents are, empty for nowhere.
[[noreturn]] void rethrow_with_latents(const std::filesystem::path& kept, const Error& error);

/// The exception that is being handled, of whatever type, as an Error; memory that ran out says what a person can do about it.
Error current_failure();

/// A failure before the first step of a run: what there was is still there, and the message says how to go on.
Error before_first_step(const Error& error, const SavedLatents* resumed);

/// work(); what it throws is passed on as before_first_step().
template <typename Work>
auto run_before_first_step(const SavedLatents* resumed, Work&& work) {
  try {
    return work();
  } catch (...) {
    throw before_first_step(current_failure(), resumed);
  }
}

/// Fills the state of the segment that an earlier run ended in. Throws BadFile where it belongs to another model or solver.
void restore(const RunContext& run, const SavedLatents& resumed, DenoiseState& state);

}  // namespace wan
