#pragma once
// The options that name a checkpoint's parts file by file, of `wan generate` and `wan convert`.

#include <CLI/CLI.hpp>
#include <string>

#include "wan/engine.h"

namespace wan {

/// Registers --high_noise and those beside it.
void add_part_options(CLI::App& command, CheckpointParts& parts, const std::string& group);

}  // namespace wan
