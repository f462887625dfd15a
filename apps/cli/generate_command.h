#pragma once
// What one video and many share on their way from options to the engine.

#include <filesystem>

#include "generate_options.h"

namespace wan {

/// Where an unnamed video goes: the official name, or the one that kept latents were on their way to.
std::filesystem::path unnamed_output(const GenerateOptions& options, const GenerationRequest& request);

}  // namespace wan
