#pragma once
// What survives a failure: latents kept on disk, and messages that say how to go on with them.

#include <exception>
#include <filesystem>

#include "kept/denoise_state.h"
#include "kept/saved_latents.h"
#include "settings/run_context.h"

namespace wan {

/// Where a run's latents go before they are decoded, and when it ends early.
struct LatentsFile {
  std::filesystem::path path;
  bool requested = false;  // stays; otherwise it is removed once the video is whole
};

/// What a run can go on from, on the device.
struct Reached {
  const DenoiseState& state;  // of the segment
  const Tensor& condition;    // see SegmentInput; empty for none
  int segment = 0;
  int segments = 1;
  const std::vector<Tensor>& done;  // finished latents of the segments before it, on the host
};

/// Saves what was reached to `file` or, where that fails (a full disk), to the folder for temporary files. Returns
/// where it is; empty where neither can be written: a run is not given up for that. Tells a Notice in both cases. Throws
/// nothing but what memory that ran out throws.
std::filesystem::path keep_latents(const RunContext& run, const Reached& reached, const LatentsFile& file);

/// Rethrows a failure of the denoising loop, in a step after the first that was done, after keeping what the run has reached.
[[noreturn]] void keep_and_rethrow(const RunContext& run, const Reached& reached, const LatentsFile& file,
                                   const Error& error);

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
