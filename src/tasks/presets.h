#pragma once
// Presets: published settings of models that were distilled to few steps, and of LoRAs that do so to others.

#include <optional>
#include <string>
#include <string_view>

#include "wan/request.h"

namespace wan {

/// `request` with what its preset says where the request itself says nothing; without a preset as it is. Throws InvalidArgument for
/// an unknown preset and one of another task, and for `sample_steps` that are not as many as `sample_timesteps`.
GenerationRequest with_preset(GenerationRequest request);

/// Share of the 1,000 training timesteps from which the high-noise expert runs, where the request's preset has another than its task.
std::optional<double> preset_boundary(const GenerationRequest& request);

/// The number of steps that a file's name says it was distilled to ("wan2.2_i2v_lightx2v_4steps_lora"), 0 where it says nothing.
int steps_in_name(std::string_view file_name);

/// The preset for so many steps of the task; nothing where none is published.
std::optional<std::string_view> preset_for(std::string_view task, int steps);

}  // namespace wan
