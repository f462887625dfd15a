#pragma once
// The options of prompt extension, of `wan generate` and `wan extend`.

#include <CLI/CLI.hpp>
#include <functional>
#include <optional>
#include <string>

#include "wan/extension.h"

namespace wan {

/// Registers --prompt_extend_method and those beside it.
void add_extension_options(CLI::App& command, PromptExtension& extension, const std::string& group);

/// What a video is made from: `extender`'s prompt takes the place of the request's. Nothing where it is empty.
void extend_request(std::optional<PromptExtender>& extender, GenerationRequest& request,
                    const EventHandler& on_event, const std::atomic<bool>* cancelled);

}  // namespace wan
