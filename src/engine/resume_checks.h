#pragma once
// Going on from kept latents: what they fix of a run's settings.

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "engine/settings_resolver.h"
#include "kept/saved_latents.h"
#include "wan/request.h"

namespace wan {

/// The settings that kept latents were begun with. Throws BadFile where they are not whole for their task, InvalidArgument where an
/// option contradicts them. What is
/// worth knowing goes to `notices`.
GenerationSettings kept_settings(const GenerationRequest& request, const SavedLatents& saved,
                                 const CheckpointModels& models, const EngineFacts& engine,
                                 std::vector<std::string>& notices);

/// Size and frames of another program's latents, from their shape, as a request would have them. Throws InvalidArgument
/// where the request contradicts them.
void take_size_of_latents(const GenerationRequest& request, const SavedLatents& saved, const VaeGeometry& vae,
                          GenerationSettings& settings);

/// What an unfinished run's images became must have the shape [C, F', h, w] that the task's pipeline takes for latents of
/// shape `latent`. Throws BadFile.
void check_kept_condition(const SavedLatents& saved, const GenerationSettings& settings, const Shape& latent,
                          const CheckpointModels& models);

}  // namespace wan
