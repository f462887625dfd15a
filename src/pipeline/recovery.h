#pragma once
// What survives a failure: latents kept on disk, and messages that say how to go on with them.

#include <filesystem>

#include "pipeline/denoise.h"
#include "pipeline/saved_latents.h"

namespace wan {

/// What a run can go on from, on the device.
struct Reached {
  const DenoiseState& state;
  const TensorView& condition;  // see SegmentInput; empty for none
};

/// Saves what was reached to `file` or, where that fails (a full disk), to the folder for temporary files. Returns
/// where it is; empty where neither can be written: a run is not given up for that. Tells a Notice in both cases. Throws
/// nothing but what memory that ran out throws.
std::filesystem::path keep_latents(const RunContext& run, const Reached& reached,
                                   const std::filesystem::path& file);

/// Rethrows a failure of the denoising loop after keeping what the run has reached.
[[noreturn]] void keep_and_rethrow(const RunContext& run, const Reached& reached,
                                   const std::filesystem::path& file, const Error& error);

/// Rethrows a failure after the last step; `kept`: where the finished latents are, empty for nowhere.
[[noreturn]] void rethrow_with_latents(const std::filesystem::path& kept, const Error& error);

/// The exception that is being handled, as an Error; memory that ran out says what a person can do about it.
Error current_failure();

/// Fills the state from an earlier run's. Throws BadFile where it belongs to another model or solver.
void restore(const RunContext& run, const SavedLatents& resumed, DenoiseState& state);

}  // namespace wan
